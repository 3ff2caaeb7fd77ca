import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import Corpus, seal
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import LOCK, prepare_corpus
from reluformer.errors import UserError

# Values that would do harm as a name or a number.
HOSTILE = ["../../x", "/etc/passwd", "a\0b", "", ".", "x" * 300, "\ud800", -1, 1 << 70]


def make(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    texts: dict[str, dict[str, Path]] = {}
    for split, count in (("train", 200), ("valid", 30)):
        texts[split] = {}
        for side in ("source", "target"):
            path = texts[split][side] = folder / f"{split}.{side}.txt"
            words = rng.choice(["alpha", "beta", "gamma", "delta"], size=(count, 5))
            path.write_text("".join(" ".join(row) + "\n" for row in words))
    prepare_corpus(texts, folder / "binary", {"name": "x"}, VocabularyOptions(30), Limits(99))
    return folder / "binary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("corpus"), seed=0)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "binary"))


def test_splits_and_lengths(folder: Path) -> None:
    split = Corpus.open(folder).split("train")
    assert len(split) == 200
    assert split.source_lengths.tolist() == [len(split.source[i]) for i in range(200)]
    assert split.target_lengths.tolist() == [len(split.target[i]) for i in range(200)]
    with pytest.raises(UserError, match="has no split `test`, only train, valid"):
        Corpus.open(folder).split("test")


def test_the_digest_is_of_the_content(folder: Path, copy: Path, tmp_path: Path) -> None:
    digest = Corpus.open(folder).manifest.digest
    assert Corpus.open(copy).manifest.digest == digest
    assert Corpus.open(make(tmp_path / "other", seed=1)).manifest.digest != digest


@pytest.mark.check("B7")
def test_a_folder_without_a_manifest_is_no_corpus(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no finished corpus in .*binary .* reluformer-preprocess"):
        Corpus.open(copy)


@pytest.mark.check("B5")
@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 0}', '{"format": 1}', "\x00\xff"])
def test_damaged_manifests_are_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        Corpus.open(copy)


@pytest.mark.check("B5")
def test_files_of_another_corpus_are_refused(copy: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", seed=1)
    for kind in ("bin", "idx"):
        shutil.copy(other / f"valid.source.{kind}", copy)
    corpus = Corpus.open(copy)
    corpus.split("train")
    with pytest.raises(UserError, match=r"valid\.source\.bin is damaged or of another corpus"):
        corpus.split("valid")
    (copy / "vocabulary.model").write_bytes((other / "vocabulary.model").read_bytes())
    with pytest.raises(UserError, match=r"vocabulary\.model is damaged or of another corpus"):
        _ = corpus.source_vocabulary


@pytest.mark.check("B1")
@pytest.mark.check("B5")
def test_sides_of_unequal_length_are_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    for kind in ("bin", "idx"):
        shutil.copy(copy / f"train.source.{kind}", copy / f"valid.source.{kind}")
    manifest["splits"]["valid"]["source"] = manifest["splits"]["train"]["source"]
    (copy / "manifest.json").write_text(json.dumps(seal(manifest)))
    with pytest.raises(UserError, match="it has 30 sentences and its source 200"):
        Corpus.open(copy).split("valid")


@pytest.mark.check("B5")
def test_verify_finds_a_flipped_bit_anywhere(copy: Path, trials) -> None:
    """In any file of the corpus, its manifest included."""
    Corpus.open(copy).verify()
    files, rng = [path for path in sorted(copy.glob("*.*")) if path.name != LOCK], random.Random(0)
    for trial in range(trials(40, 400)):
        path = files[trial % len(files)]
        original = path.read_bytes()
        bits = bytearray(original)
        bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        path.write_bytes(bits)
        with pytest.raises(UserError, match=path.name):
            Corpus.open(copy).verify()
        path.write_bytes(original)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=4,
)


@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_any_manifest_is_a_corpus_or_our_error(copy: Path, trials) -> None:
    """One value of it, anywhere, is any other; the checksum is right, or there is none."""
    path = copy / "manifest.json"
    original = path.read_text()

    @cases(trials(25, 1000))
    @given(st.data(), JSON, st.booleans())
    def change(data: st.DataObject, value: object, sealed: bool) -> None:
        manifest = json.loads(original)
        del manifest["checksum"]
        part, last = manifest, data.draw(st.sampled_from(sorted(manifest)))
        while isinstance(part[last], dict) and part[last] and data.draw(st.booleans()):
            part = part[last]
            last = data.draw(st.sampled_from(sorted(part)))
        part[last] = value
        path.write_text(json.dumps(seal(manifest) if sealed else manifest))
        with suppress(UserError):
            Corpus.open(copy).verify()

    change()


@pytest.mark.check("B5")
def test_a_corpus_of_an_earlier_version_has_no_checksum(copy: Path) -> None:
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    path.write_text(json.dumps(manifest))
    Corpus.open(copy).verify()
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"manifest\.json is damaged .* not JSON"):
        Corpus.open(copy)
