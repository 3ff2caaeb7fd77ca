"""Marks of documents in text, and where documents begin in a prepared corpus."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import cheap

from reluformer.data.assembly import VocabularyOptions
from reluformer.data.corpus import Corpus
from reluformer.data.documents import DocumentCounter, Documents, Mark, paired_marks, parse_mark
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import prepare_corpus
from reluformer.errors import UserError

NAMES = ("a.de", "a.en")


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("<d>", Mark()),
        (" <d> ", Mark()),
        ("<d 09-04-21>", Mark("09-04-21")),
        ("<d  a b  >", Mark("a b")),
        ("<D>", None),
        ("<dd>", None),
        ("<d> text", None),
        ("<d <d>>", None),
        ("", None),
    ],
)
def test_which_lines_are_marks(line: str, mark: Mark | None) -> None:
    assert parse_mark(line) == mark
    if mark is not None:
        assert parse_mark(str(mark)) == mark


@pytest.mark.check("B6")
@pytest.mark.timeout(5)
@pytest.mark.parametrize("inside", [" ", " x", "<", "\t"])
def test_a_mark_without_end_is_seen_at_once(inside: str) -> None:
    assert parse_mark("<d " + inside * 500_000 + "<") is None


def test_marks_stand_on_the_same_lines() -> None:
    pairs = [("<d 1>", "<d 1>"), ("a", "b")]
    assert list(paired_marks(pairs, NAMES)) == [(Mark("1"), pairs[0]), (None, pairs[1])]
    for bad in ([("<d>", "<d>"), ("<d>", "x")], [("<d 1>", "<d 2>")]):
        with pytest.raises(UserError, match=r"line \d of a\.de and of a\.en must be the same mark"):
            list(paired_marks(bad, NAMES))
    with pytest.raises(UserError, match=r"a\.de must begin with a mark"):
        list(paired_marks([("a", "b")], NAMES))


def test_documents_of_which_nothing_is_kept_vanish() -> None:
    counter = DocumentCounter()
    for session, sentence in (("1", 0), ("1", 4), ("2", 4), ("2", 6), ("3", 9), ("3", 9)):
        counter.begin(Mark(session), sentence)
    documents = counter.finish(9)
    assert documents.starts.tolist() == [0, 4, 6]
    assert documents.borders().tolist() == [0, 4, 6, 9]
    assert documents.borders(joined=True).tolist() == [0, 4, 9]
    assert counter.summary(documents) == {"count": 3, "sessions": 2, "empty": 3}


TEXT = ["<d 1>", "one two", "three", "<d 1>", "", "four", "<d 2>", " ".join(["long"] * 30)]
TEXT += ["<d 2>", "five six", "<d 2>", "seven"]


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for split in ("train", "valid"):
        found[split] = {}
        for side in ("source", "target"):
            path = found[split][side] = tmp_path / f"{split}.{side}"
            path.write_text("\n".join([*TEXT * 20, "<d 9>"]) + "\n")
    return found


def prepare(texts: dict[str, dict[str, Path]], folder: Path, documents: bool) -> Corpus:
    options = VocabularyOptions(30, documents=documents)
    prepare_corpus(texts, folder, {"documents": documents}, options, Limits(8), workers=1)
    return Corpus.open(folder)


def test_a_corpus_of_documents(texts: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    """The long line and the empty one go, and with the long one its whole document."""
    corpus = prepare(texts, tmp_path / "binary", documents=True)
    train, valid = corpus.split("train"), corpus.split("valid")
    assert train.documents is not None
    assert valid.documents is not None
    assert train.documents.starts[:6].tolist() == [0, 2, 3, 4, 5, 7]
    assert train.documents.borders(joined=True)[:4].tolist() == [0, 3, 5, 8]
    assert valid.documents.starts[:6].tolist() == [0, 2, 4, 5, 6, 7]
    described = corpus.manifest.splits["train"]["documents"]
    assert (described["count"], described["sessions"], described["empty"]) == (80, 40, 21)
    assert corpus.manifest.splits["train"]["lines"] == 20 * 7
    vocabulary = corpus.source_vocabulary
    assert vocabulary.separator == 4
    assert vocabulary.decode([*vocabulary.encode("one"), 4, *vocabulary.encode("two")]) == "one two"
    assert 4 not in vocabulary.encode("one <sep> two")


def test_marks_are_not_text(
    texts: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that is known before anything is learnt."""
    with pytest.raises(UserError, match=r"is made of documents \(<d 1>\): say `data.documents"):
        prepare(texts, tmp_path / "binary", documents=False)
    test = texts["valid"]["target"]
    test.write_text(test.read_text("utf-8") + "<d 9>\n", "utf-8")
    with texts["valid"]["source"].open("a", encoding="utf-8") as file:
        file.write("no mark\n")
    with pytest.raises(UserError, match="must be the same mark"):
        prepare(texts, tmp_path / "binary", documents=True)
    assert "symbols from" not in capsys.readouterr().err


@pytest.mark.check("B5")
def test_damage_is_found(texts: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    corpus = prepare(texts, tmp_path / "binary", documents=True)
    path = tmp_path / "binary/train.documents.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(UserError, match=r"train\.documents\.npy is damaged"):
        corpus.split("train")
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read .*train\.documents\.npy"):
        corpus.split("train")


class Unwanted:
    """Fails where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("it was unpickled",)


def as_file(save: Any, *arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


def with_shape(shape: str) -> bytes:
    """The header of an array of that shape, without its content."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00\x76\x00" + header.encode()


@pytest.mark.check("C1")
@pytest.mark.parametrize(
    "content",
    [
        as_file(np.save, np.array([[Unwanted()], [Unwanted()]], dtype=object)),
        as_file(np.savez, np.zeros(2), np.zeros(2)),
        as_file(np.savez, np.zeros(2)),
        as_file(np.save, np.zeros((2, 3))),
        as_file(np.save, np.zeros((3, 2), dtype=np.int64)),
        as_file(np.save, np.array([[0, 2, 1], [0, 0, 0]])),
        as_file(np.save, np.array([[0, 5], [0, 0]])),
        as_file(np.save, np.array([[-1, 1], [0, 0]])),
        with_shape(f"(2, {2**60})"),
        with_shape(f"(2, {2**35})"),
        with_shape("__import__('os')"),
        b"PK\x03\x04",
        b"",
    ],
)
def test_a_list_of_documents_that_is_none(tmp_path: Path, content: bytes) -> None:
    """Though its checksum is right: who wrote it meant it."""
    path = tmp_path / "train.documents.npy"
    path.write_bytes(content)
    with cheap(), pytest.raises(UserError, match=r"documents\.npy does not say where documents"):
        Documents.load(path, 5, hashlib.sha256(content).hexdigest())


def test_a_list_of_documents_is_read_back(tmp_path: Path) -> None:
    documents = Documents(np.array([0, 3]), np.array([0, 0]), 5)
    read = Documents.load(tmp_path / "x", 5, documents.save(tmp_path / "x"))
    assert read.borders().tolist() == [0, 3, 5]
