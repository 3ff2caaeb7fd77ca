"""A model whose probabilities are written down, to search over."""

from collections.abc import Callable, Sequence

import pytest
import torch

from reluformer.data.vocabulary import EOS

A, B, VOCAB_SIZE = 4, 5, 6
Table = Callable[[int, tuple[int, ...]], Sequence[float]]


class TableCache:
    """The sentence and the tokens so far of each row."""

    def __init__(self, sentences, beam_size):
        self.sentences = sentences
        self.rows = [(sentence, ()) for sentence in sentences for _ in range(beam_size)]
        self.beam_size = beam_size

    def select(self, rows, sentences):
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.sentences = [self.sentences[sentence] for sentence in sentences.tolist()]
        beams = [sentence for sentence in self.sentences for _ in range(self.beam_size)]
        assert [sentence for sentence, _ in self.rows] == beams, "rows must be grouped by sentence"


class TableModel:
    """`table(sentence, prefix)` gives the V probabilities after the prefix (without the BOS).

    A sentence is known by the first token of its source.
    """

    max_positions = 64

    def __init__(self, table: Table):
        self.table = table
        self.num_steps = 0

    def encode(self, src_tokens, src_lengths):
        return src_tokens[:, 0].tolist()

    def start(self, encoded, beam_size):
        return TableCache(encoded, beam_size)

    def step(self, tokens, cache):
        self.num_steps += 1
        cache.rows = [
            (sentence, (*prefix, token))
            for (sentence, prefix), token in zip(cache.rows, tokens.tolist(), strict=True)
        ]
        probabilities = [self.table(sentence, prefix[1:]) for sentence, prefix in cache.rows]
        return torch.tensor(probabilities, dtype=torch.float64).log().float()


def by_words(**probabilities: float) -> list[float]:
    """V probabilities from those of `end`, `a` and `b`."""
    row = [0.0] * VOCAB_SIZE
    for word, probability in probabilities.items():
        row[{"end": EOS, "a": A, "b": B}[word]] = probability
    return row


@pytest.fixture
def table_model():
    return TableModel


@pytest.fixture
def garden_path():
    """A table where the likeliest first word (a) leads to less likely sentences than b."""
    after = {
        (): by_words(end=0.05, a=0.55, b=0.40),
        (A,): by_words(end=0.30, a=0.36, b=0.34),
        (B,): by_words(end=0.90, a=0.06, b=0.04),
    }
    return lambda sentence, prefix: after.get(prefix, by_words(end=0.90, a=0.06, b=0.04))


@pytest.fixture
def random_table():
    """Probabilities drawn anew for each sentence and prefix, over EOS, A and B."""

    def build(seed: int, end_share: float = 1.0) -> Table:
        def table(sentence, prefix):
            number = 1
            for token in prefix:
                number = number * 7 + token
            generator = torch.Generator().manual_seed(hash((seed, sentence, number)) % 2**31)
            weights = torch.rand(3, generator=generator, dtype=torch.float64) + 0.01
            weights[0] *= end_share
            end, a, b = (weights / weights.sum()).tolist()
            return by_words(end=end, a=a, b=b)

        return table

    return build
