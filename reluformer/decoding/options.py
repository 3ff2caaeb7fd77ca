"""How a translation is searched for."""

from dataclasses import dataclass

from reluformer.checks import check_most, check_not_negative, check_positive
from reluformer.errors import UserError

LARGEST_BEAM = 10_000


@dataclass
class DocumentOptions:
    """How documents are cut into windows; `length` null: as in training."""

    length: int | None = None  # positions of a window, or of its translation where that is longer
    overlap: int = 0  # sentences at the end of a window that the next one begins with

    def __post_init__(self) -> None:
        if self.length is not None:
            check_positive("documents.length", self.length)
        check_not_negative("documents.overlap", self.overlap)


@dataclass
class DecodeOptions:
    """Settings of `translate_batch`; a beam of 1 is greedy search."""

    beam_size: int = 5  # hypotheses searched at a time; with sampling: samples
    n_best: int = 1  # hypotheses returned for each sentence, best first, at most beam_size
    length_penalty: float = 1.0  # ranked by log-probability / length^length_penalty
    min_length: int = 1  # in pieces, end of sentence not counted
    max_len_a: float = 1.2  # longest hypothesis: max_len_a * source length + max_len_b pieces
    max_len_b: int = 10
    sampling: bool = False  # draw hypotheses at random instead of searching for the likeliest
    temperature: float = 1.0  # sampling: below 1 bolder, above 1 wilder
    top_k: int = 0  # sampling: among the k likeliest pieces only; 0: among all
    top_p: float = 1.0  # sampling: among the fewest likeliest pieces that hold this share
    seed: int = 1  # sampling: with a line's number it fixes the line's samples

    def __post_init__(self) -> None:
        check_positive("beam_size", self.beam_size)
        check_most("beam_size", self.beam_size, LARGEST_BEAM)
        check_positive("n_best", self.n_best)
        if self.n_best > self.beam_size:
            raise UserError(
                f"`n_best` must not exceed `beam_size` ({self.beam_size}), but is {self.n_best}"
            )
        for name in ("length_penalty", "min_length", "max_len_a", "max_len_b", "top_k", "seed"):
            check_not_negative(name, getattr(self, name))
        for name, most in (("length_penalty", 10), ("max_len_a", 1000), ("max_len_b", 1_000_000)):
            if getattr(self, name) > most:
                raise UserError(f"`{name}` must be at most {most:,}, but is {getattr(self, name)}")
        check_positive("temperature", self.temperature)
        if not 0 < self.top_p <= 1:
            raise UserError(f"`top_p` must be above 0 and at most 1, but is {self.top_p}")
        drawn = self.temperature, self.top_k, self.top_p, self.seed
        if not self.sampling and drawn != (1.0, 0, 1.0, 1):
            raise UserError(
                "`temperature`, `top_k`, `top_p` and `seed` are for sampling only: say "
                "`decode=sampling`"
            )

    def longest(self, src_length: int) -> int:
        """Pieces of the longest hypothesis for a source of this length, its end included."""
        return int(self.max_len_a * src_length + self.max_len_b)
