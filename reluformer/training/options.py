"""Settings of training, with the checks on their values; `conf/train.yaml` holds the defaults."""

from dataclasses import dataclass

from reluformer.checks import check_choice, check_not_negative, check_positive, check_share
from reluformer.errors import UserError


@dataclass
class OptimOptions:
    """Adam with decoupled weight decay, and the course of its learning rate (in updates)."""

    learning_rate: float
    schedule: str
    warmup_updates: int
    min_learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip_norm: float

    def __post_init__(self) -> None:
        check_positive("optim.learning_rate", self.learning_rate)
        check_choice("optim.schedule", self.schedule, ("inverse_sqrt", "cosine", "constant"))
        check_not_negative("optim.warmup_updates", self.warmup_updates)
        check_not_negative("optim.min_learning_rate", self.min_learning_rate)
        if self.min_learning_rate > self.learning_rate:
            raise UserError(
                f"`optim.min_learning_rate` is {self.min_learning_rate}, more than "
                f"`optim.learning_rate`, {self.learning_rate}: lower it"
            )
        check_share("optim.beta1", self.beta1)
        check_share("optim.beta2", self.beta2)
        check_positive("optim.epsilon", self.epsilon)
        check_not_negative("optim.weight_decay", self.weight_decay)
        check_not_negative("optim.clip_norm", self.clip_norm)


@dataclass
class LossOptions:
    """Label smoothing, and lambda with its linear warm-up (in updates)."""

    label_smoothing: float
    regulariser_weight: float
    regulariser_warmup: int

    def __post_init__(self) -> None:
        check_share("loss.label_smoothing", self.label_smoothing)
        check_not_negative("loss.regulariser_weight", self.regulariser_weight)
        check_not_negative("loss.regulariser_warmup", self.regulariser_warmup)


@dataclass
class FitOptions:
    """How long to train, on how much at a time, and when to look, validate and save.

    Intervals are in updates; an update is `update_freq` micro-batches on each process, and a
    micro-batch holds at most `max_tokens` positions (padding included) on its longer side; where
    `memory_aware`, as many as need no more memory than so many positions of short sentences.
    """

    max_updates: int
    max_tokens: int
    update_freq: int
    memory_aware: bool
    recompute: bool
    compile: bool
    deterministic: bool
    precision: str
    log_interval: int
    statistics_interval: int
    valid_interval: int
    valid_max_tokens: int
    valid_sentences: int
    best_metric: str
    patience: int
    save_interval: int
    keep_checkpoints: int
    calibration_sentences: int
    calibration_ratio: float
    process_timeout: float

    def __post_init__(self) -> None:
        for name in (
            "max_updates",
            "max_tokens",
            "update_freq",
            "log_interval",
            "statistics_interval",
            "valid_interval",
            "valid_max_tokens",
            "save_interval",
            "calibration_sentences",
            "calibration_ratio",
            "process_timeout",
        ):
            check_positive(f"train.{name}", getattr(self, name))
        for name in ("valid_sentences", "patience", "keep_checkpoints"):
            check_not_negative(f"train.{name}", getattr(self, name))
        check_choice("train.precision", self.precision, ("fp32", "bf16"))
        check_choice("train.best_metric", self.best_metric, ("bleu", "loss"))
        if self.best_metric == "bleu" and not self.valid_sentences:
            raise UserError(
                "`train.best_metric` bleu needs sentences to translate: "
                "`train.valid_sentences` must be above 0, or take best_metric=loss"
            )
