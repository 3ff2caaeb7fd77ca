"""Settings of `reluformer-average`."""

from dataclasses import dataclass

from reluformer.checks import check_positive


@dataclass
class AverageConfig:
    """Which checkpoints of which run."""

    run: str  # the run folder
    last: int  # how many of the newest numbered checkpoints

    def __post_init__(self) -> None:
        check_positive("last", self.last)
