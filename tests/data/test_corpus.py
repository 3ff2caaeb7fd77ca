import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import Corpus
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import prepare_corpus
from reluformer.errors import UserError


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


def test_a_folder_without_a_manifest_is_no_corpus(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no finished corpus in .*binary .* reluformer-preprocess"):
        Corpus.open(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 0}', '{"format": 1}', "\x00\xff"])
def test_damaged_manifests_are_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        Corpus.open(copy)


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


def test_sides_of_unequal_length_are_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    for kind in ("bin", "idx"):
        shutil.copy(copy / f"train.source.{kind}", copy / f"valid.source.{kind}")
    manifest["splits"]["valid"]["source"] = manifest["splits"]["train"]["source"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="it has 30 sentences and its source 200"):
        Corpus.open(copy).split("valid")


def test_verify_finds_a_flipped_bit_anywhere(copy: Path) -> None:
    Corpus.open(copy).verify()
    for path in sorted(copy.glob("*.*")):
        if path.name == "manifest.json" or path.name.startswith("."):
            continue
        original = path.read_bytes()
        path.write_bytes(original[:-3] + bytes([original[-3] ^ 4]) + original[-2:])
        with pytest.raises(UserError, match=path.name):
            Corpus.open(copy).verify()
        path.write_bytes(original)
