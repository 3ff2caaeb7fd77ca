"""Models to search over: written-down probabilities, and small random Transformers."""

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from small_models import model_config

from reluformer.config.build import build_model
from reluformer.data.vocabulary import EOS, train_vocabulary
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.translate import Translator
from reluformer.decoding.treatment import Treatment

A, B, VOCAB_SIZE = 4, 5, 6
Table = Callable[[int, tuple[int, ...]], Sequence[float]]


class TableCache:
    """The sentence and the tokens so far of each row."""

    def __init__(self, sentences):
        self.sentences = sentences
        self.rows = [(sentence, ()) for sentence in sentences]

    def select(self, rows, sentences):
        self.sentences = [self.sentences[sentence] for sentence in sentences.tolist()]
        beams = [[self.rows[row] for row in beam] for beam in rows.tolist()]
        for sentence, beam in zip(self.sentences, beams, strict=True):
            assert {row[0] for row in beam} == {sentence}, "rows must be grouped by sentence"
        self.rows = [row for beam in beams for row in beam]


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

    def start(self, encoded):
        return TableCache(encoded)

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


SYLLABLES = ["der", "ein", "hund", "kat", "ze", "haus", "ge", "lauf", "en", "sch", "warz", "weiß"]


@pytest.fixture(scope="session")
def words():
    """Sentences of made-up words, by number and length."""

    def build(seed: int, num_words: int = 6) -> str:
        rng = random.Random(seed)
        made = ("".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(num_words))
        return " ".join(made) + rng.choice([".", "!", "?"])

    return build


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("vocabulary") / "text"
    lines = [words(seed) + ", &apos;" for seed in range(300)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return train_vocabulary([path], size=80).vocabulary


@pytest.fixture(scope="session")
def transformer(vocabulary):
    """A small random Transformer with clear preferences, so that some sentences end early."""

    def build(attention: str = "softmax", max_positions: int = 48):
        torch.manual_seed(1)
        config = model_config(
            attention,
            encoder_layers=1,
            d_model=32,
            share_embeddings="none",
            max_positions=max_positions,
        )
        model = build_model(config, len(vocabulary), len(vocabulary), True).eval()
        with torch.no_grad():
            model.output_projection.weight *= 3
        return model

    return build


@pytest.fixture
def translator(transformer, vocabulary):
    """A translator around the small Transformer, for untreated text unless told otherwise."""

    def build(moses=False, input_tokenised=False, detokenise=True, max_positions=48, **settings):
        short = {"beam_size": 3, "max_len_a": 0.0, "max_len_b": 5}
        options = DecodeOptions(**short | settings.pop("options", {}))
        treatment = Treatment(
            "de",
            "en",
            moses=moses,
            lowercase=moses,
            input_tokenised=input_tokenised,
            detokenise=detokenise,
        )
        model = transformer(max_positions=max_positions)
        return Translator(model, vocabulary, vocabulary, treatment, options, **settings)

    return build


@pytest.fixture
def torch_threads():
    """torch_threads(2): so many from here on, and one again after the test."""
    yield torch.set_num_threads
    torch.set_num_threads(1)
