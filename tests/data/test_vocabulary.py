import io
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from checks import Trials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import cheap

from reluformer.data.text import read_lines
from reluformer.data.vocabulary import (
    BOS,
    EOS,
    LONGEST_PIECE,
    LONGEST_WORD,
    PAD,
    SPECIAL_IDS,
    UNK,
    TrainedVocabulary,
    Vocabulary,
    draw_lines,
    train_vocabulary,
)
from reluformer.errors import UserError

WORDS = ["Haus", "Häuser", "Straße", "schön", "grün", "laufen", "läuft", "Boot", "'s", "12", "."]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("vocabulary") / "text"
    path.write_text("".join(" ".join(rng.choices(WORDS, k=8)) + "\n" for _ in range(300)), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(text: Path) -> TrainedVocabulary:
    return train_vocabulary([text], size=60)


@pytest.fixture(scope="module")
def byte_vocabulary(text: Path) -> Vocabulary:
    return train_vocabulary([text], size=320, byte_fallback=True).vocabulary


def test_special_symbols_have_their_ids(trained: TrainedVocabulary) -> None:
    vocabulary = trained.vocabulary
    assert len(vocabulary) == 60
    assert trained.lines == 300
    assert vocabulary.pieces([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    spelt = vocabulary.encode("<pad> <s> </s> Haus")
    assert not {PAD, BOS, EOS} & set(spelt)


def test_text_survives_the_round_trip(trained: TrainedVocabulary) -> None:
    vocabulary = trained.vocabulary
    line = "Straße läuft 12 schön ."
    ids = vocabulary.encode(line)
    assert vocabulary.decode(ids) == line
    assert vocabulary.decode([BOS, *ids, EOS, PAD, PAD]) == line
    assert vocabulary.decode(np.array(ids)) == line
    assert "".join(vocabulary.pieces(ids)).replace("▁", " ").strip() == line
    assert vocabulary.encode("") == vocabulary.encode("  ") == []
    assert UNK in vocabulary.encode("Ω")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
def test_with_byte_fallback_only_spaces_change(byte_vocabulary: Vocabulary, line: str) -> None:
    ids = byte_vocabulary.encode(line)
    assert UNK not in ids
    assert byte_vocabulary.decode(ids) == " ".join(filter(None, line.split(" ")))


def assert_packed_as_single(vocabulary: Vocabulary, lines: list[str]) -> None:
    expected = [vocabulary.encode(line) for line in lines]
    tokens, lengths = vocabulary.encode_packed(lines)
    assert lengths.tolist() == [len(ids) for ids in expected]
    assert tokens.tolist() == [token for ids in expected for token in ids]


def test_packed_arrays_agree_with_single_lines(trained: TrainedVocabulary) -> None:
    lines = ["Haus .", "", "läuft laufen", "a\u2028b\0c", "Boot 's", " Haus  . ", "\t", "Ω Ω ΩΩ"]
    assert_packed_as_single(trained.vocabulary, lines * 2)
    assert_packed_as_single(trained.vocabulary, ["läuft" * LONGEST_WORD, "Haus " * 3000])
    tokens, lengths = trained.vocabulary.encode_packed([])
    assert len(tokens) == len(lengths) == 0


@pytest.fixture(scope="module", params=["identity", "nfkc", "nmt_nfkc", "bytes"])
def normalising(request: pytest.FixtureRequest, text: Path) -> Vocabulary:
    if request.param == "bytes":
        return train_vocabulary([text], size=320, byte_fallback=True).vocabulary
    return train_vocabulary([text], size=60, normalisation=request.param).vocabulary


# Spaces of every kind, SentencePiece's own, marks that combine, ligatures, what normalises to
# nothing or to several words, and what no vocabulary of these tests has.
ODD_CHARACTERS = "aß \u2581\u00a0\u3000\u200b\t\0\u0301\u00a8\u0385\ufb01\u2026\u00bd\u1100\u1161Ω"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.text(ODD_CHARACTERS), st.text(st.characters(exclude_categories=["Cs"]))))
)
def test_words_in_any_text_have_the_tokens_of_their_line(
    normalising: Vocabulary, lines: list[str]
) -> None:
    assert_packed_as_single(normalising, lines)


@pytest.mark.parametrize(
    "options",
    [
        {"split_by_whitespace": False},
        {"treat_whitespace_as_suffix": True},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"user_defined_symbols": ["a b", "\u2581b"]},
        {"model_type": "unigram"},  # which rounds sums of probabilities from the line's beginning
    ],
)
def test_models_whose_tokens_know_the_words_beside_them(options: dict[str, Any]) -> None:
    rng, model = random.Random(1), io.BytesIO()
    words = ["".join(rng.choices("aab0", k=rng.randint(1, 7))) for _ in range(400)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(rng.choices(words, k=8)) for _ in range(500)),
        model_writer=model,
        vocab_size=60,
        minloglevel=2,
        **{"model_type": "bpe", **SPECIAL_IDS, **options},
    )
    nonsense = ["".join(rng.choices("ab0", k=rng.randint(3, 12))) for _ in range(3000)]
    lines = [" ".join(nonsense[first : first + 30]) for first in range(0, 3000, 30)]
    odd = ["  a  b ", "b", "", " a", "a b b a b"]
    assert_packed_as_single(Vocabulary(model.getvalue()), lines + odd)


def test_a_vocabulary_is_itself_again_in_another_process(trained: TrainedVocabulary) -> None:
    there, again = (pickle.loads(pickle.dumps(trained.vocabulary)) for _ in range(2))
    assert there is again  # which keeps the words that it remembers
    assert there.model == trained.vocabulary.model
    assert_packed_as_single(there, ["Haus ."])


def test_no_piece_is_longer_than_the_limit(text: Path) -> None:
    vocabulary = train_vocabulary([text], size=74).vocabulary
    assert max(map(len, vocabulary.pieces(range(len(vocabulary))))) <= LONGEST_PIECE


@pytest.mark.check("determinism")
def test_the_same_text_gives_the_same_model(text: Path, trained: TrainedVocabulary) -> None:
    again = train_vocabulary([text], size=60).vocabulary
    assert again.model == trained.vocabulary.model
    assert again.digest == trained.vocabulary.digest
    assert train_vocabulary([text], size=59).vocabulary.digest != again.digest


def test_a_model_on_disk_is_the_same_model(trained: TrainedVocabulary, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.model"
    path.write_bytes(trained.vocabulary.model)
    assert Vocabulary.load(path).digest == trained.vocabulary.digest


def test_joint_training_reads_all_files(text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("żółć " * 5 + "\n", encoding="utf-8")
    joint = train_vocabulary([text, other], size=60)
    assert joint.lines == 301
    assert UNK not in joint.vocabulary.encode("żółć")


def test_the_largest_size_named_is_the_largest_that_works(text: Path) -> None:
    with pytest.raises(UserError, match=r"is 9,000, but .*text can fill only") as error:
        train_vocabulary([text], size=9000)
    largest = int(str(error.value).split("set it to ")[1].split()[0])
    assert len(train_vocabulary([text], size=largest).vocabulary) == largest
    with pytest.raises(UserError, match=f"set it to {largest} or less"):
        train_vocabulary([text], size=largest + 1)


def test_the_smallest_size_named_is_the_smallest_that_works(text: Path) -> None:
    with pytest.raises(UserError, match=r"characters of .*text alone need \d+ symbols") as error:
        train_vocabulary([text], size=6)
    smallest = int(str(error.value).split("alone need ")[1].split()[0])
    assert len(train_vocabulary([text], size=smallest).vocabulary) == smallest


def test_bad_text_is_reported_and_long_lines_are_counted(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="no text to learn a vocabulary from"):
        train_vocabulary([path], size=60)
    path.write_bytes(b" \n\n")
    with pytest.raises(UserError, match="no text to learn a vocabulary from"):
        train_vocabulary([path], size=60)
    path.write_bytes(b"fine\nb\xffd\n")
    with pytest.raises(UserError, match="x, line 2, byte 2"):
        train_vocabulary([path], size=60)
    path.write_bytes(b"x" * 100_000 + b"\n" + text.read_bytes())
    assert train_vocabulary([path], size=60).too_long == 1


@pytest.mark.check("C5")
@pytest.mark.parametrize("data", [b"", b"not a model", b"\x0a\x05\x0a\x01a"])
def test_what_is_no_model_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"x\.model"):
        Vocabulary.load(path)


def damaged(model: bytes, chance: random.Random) -> bytes:
    """The model with a part lost, bits flipped, bytes replaced, or a part copied elsewhere."""
    data, places = bytearray(model), range(len(model))
    place, other, length = *chance.choices(places, k=2), chance.choice([1, 4, 50, 1000])
    kind = chance.randrange(4)
    if kind == 0:
        del data[place :: chance.choice([1, 2, 1000])]
    elif kind == 1:
        for place in chance.choices(places, k=chance.choice([1, 3, 30])):
            data[place] ^= 1 << chance.randrange(8)
    elif kind == 2:
        data[place : place + length] = chance.randbytes(chance.choice([0, 1, 4, 50]))
    else:
        data[place : place + length] = data[other : other + length]
    return bytes(data)


# Not in the tests' own process: SentencePiece is not Python, and might end it.
USE_MODELS = """
import sys
from pathlib import Path
from reluformer.data.vocabulary import Vocabulary
from reluformer.errors import UserError

refused = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path, file=sys.stderr)
    try:
        vocabulary = Vocabulary.load(path)
    except UserError:
        refused += 1
        continue
    lines = ["Häuser läuft 12", "Ω ﬁ ½ a\\0b", ""]
    for ids in [*map(vocabulary.encode, lines), range(len(vocabulary))]:
        vocabulary.decode(ids)
        vocabulary.pieces(ids)
    vocabulary.encode_packed(lines)
print(refused)
"""


@pytest.mark.check("C5")
def test_a_damaged_model_is_refused_or_works(text: Path, tmp_path: Path, trials: Trials) -> None:
    """Half of them with tables of Unicode normalisation, which are binary too."""
    count, chance = trials(50, 2_000), random.Random(1)
    models = [
        train_vocabulary(
            [text], 320, byte_fallback=True, normalisation=normalisation
        ).vocabulary.model
        for normalisation in ("identity", "nmt_nfkc")
    ]
    (tmp_path / "models").mkdir()
    for number in range(count):
        path = tmp_path / "models" / f"{number}.model"
        path.write_bytes(damaged(models[number % 2], chance))
    command = [sys.executable, "-c", USE_MODELS, str(tmp_path / "models")]
    used = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert used.returncode == 0, used.stderr[-2_000:]
    assert count / 2 < int(used.stdout) < count


@pytest.mark.check("C5")
def test_a_model_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.touch()
    os.truncate(path, 1 << 30)
    with cheap(), pytest.raises(UserError, match=r"x\.model is too large"):
        Vocabulary.load(path)


def test_lines_are_drawn_evenly_by_seed_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("".join(f"{i}\n" for i in range(20)))
    assert list(draw_lines(path, 20, seed=1)) == list(draw_lines(path, 99, seed=5))
    counts: Counter[str] = Counter()
    for seed in range(2000):
        drawn = list(draw_lines(path, 5, seed))
        assert len(drawn) == 5
        assert drawn == sorted(drawn, key=int)
        counts.update(drawn)
    # binomial(2000, 1/4): mean 500, deviation 19.4; five of them on either side
    assert all(400 < counts[str(i)] < 600 for i in range(20))
    assert list(draw_lines(path, 5, 7)) == list(draw_lines(path, 5, 7))


@pytest.mark.parametrize("lang", ["de", "en"])
def test_real_text_survives_the_round_trip(corpora: Path, lang: str) -> None:
    """Every caption comes back, but for runs of spaces, from a vocabulary learnt on others."""
    vocabulary = train_vocabulary([corpora / f"multi30k/train.{lang}.gz"], size=4000).vocabulary
    lines = list(read_lines(corpora / f"multi30k/val.{lang}"))
    encoded = map(vocabulary.encode, lines)
    known = [row for row in zip(lines, encoded, strict=True) if UNK not in row[1]]
    assert len(known) > 0.99 * len(lines)
    for line, ids in known:
        assert vocabulary.decode(ids) == " ".join(filter(None, line.split(" ")))
    assert_packed_as_single(vocabulary, lines)
