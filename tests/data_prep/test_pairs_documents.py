"""data_prep/pairs.py on text with marks of documents."""

import json
from collections.abc import Iterator
from pathlib import Path

import pairs
import pytest
from sacremoses import MosesTokenizer

LANGS = ("source_lang=de", "target_lang=en")
TEXT = Path("data/mine/text")
SPLITS = ("train", "valid", "test")

Document = tuple[str, list[tuple[str, str]]]  # its mark, its pairs


def write(path: str, lines: list[str]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(name: str) -> list[str]:
    return (TEXT / name).read_text(encoding="utf-8").split("\n")[:-1]


def documents(split: str, kind: str = "") -> list[Document]:
    """A split's documents, whose marks must stand on the same lines of both sides."""
    made: list[Document] = []
    for line in zip(read(f"{split}{kind}.de"), read(f"{split}{kind}.en"), strict=True):
        if line[0].startswith("<d"):
            assert line[0] == line[1]
            made.append((line[0], []))
        else:
            made[-1][1].append(line)
    return made


def counts() -> dict:
    return json.loads((TEXT / "prepare.json").read_text())["counts"]


def numbered(sizes: list[int]) -> Iterator[Document]:
    """Documents of so many pairs, on four days."""
    for number, size in enumerate(sizes):
        lines = [(f"Satz {number}.{i}", f"sentence {number}.{i}") for i in range(size)]
        yield f"<d 0{number % 4}-10-04>", lines


def lines_of(made: list[Document], side: int) -> list[str]:
    return [line for mark, lines in made for line in [mark, *(pair[side] for pair in lines)]]


def files(run, made: list[Document], *options: str) -> tuple[int, str]:
    """Run the recipe on two files of documents."""
    write("a.de", lines_of(made, 0))
    write("a.en", lines_of(made, 1))
    return run(pairs.main, "source=a.de", "target=a.en", "name=mine", *LANGS, *options)


SIZES = [1 + number % 7 for number in range(60)]


def test_documents_are_drawn_whole_until_there_are_enough_pairs(run):
    given = list(numbered(SIZES))
    code, said = files(run, given, "valid_size=20", "test_size=30")
    assert code == 0
    made = {split: documents(split) for split in SPLITS}
    assert sorted(document for part in made.values() for document in part) == sorted(given)
    # Within a split the order is the text's.
    assert all(part == [d for d in given if d in part] for part in made.values())
    for split, size in (("valid", 20), ("test", 30)):
        assert size <= counts()[split]["pairs"] < size + max(SIZES)
        assert counts()[split]["documents"] == len(made[split])
        assert f"{split}: {counts()[split]['pairs']} pairs in {len(made[split])} documents" in said
    assert counts()["read"] == sum(SIZES)
    assert not list(TEXT.glob("*.raw.*"))
    before = made
    files(run, given, "valid_size=20", "test_size=30", "seed=2", "overwrite=true")
    assert {split: documents(split) for split in SPLITS} != before


def test_every_nth_document_is_held_out_in_turn(run):
    given = list(numbered([2, 3] * 10))
    assert files(run, given, "every_nth=4")[0] == 0
    assert documents("valid") == [given[3], given[11], given[19]]
    assert documents("test") == [given[7], given[15]]


def test_cleaning_drops_pairs_but_only_documents_without_any_lose_their_mark(run):
    long = "wort " * 30
    broken = ("<d 09-01-01>", [("", "nothing"), (long, long)])
    holed = ("<d 09-01-02>", [("Eins", "one"), ("", "x"), ("Eins", "one"), ("zwei", "two")])
    given = [*numbered([3] * 8), broken, holed, ("<d>", [])]
    options = "max_length=20", "deduplicate=true", "valid_size=3", "test_size=3"
    assert files(run, given, *options)[0] == 0
    made = [document for split in SPLITS for document in documents(split)]
    assert (holed[0], [("Eins", "one"), ("zwei", "two")]) in made
    assert len(made) == 9
    reasons = {"empty": 2, "too_long": 1, "bad_ratio": 0, "duplicate": 1, "leaked": 0}
    assert counts()["dropped"] == reasons
    assert sum(counts()[split]["pairs"] for split in SPLITS) == 26


def test_documents_that_are_held_out_stay_whole(run):
    """Whatever would be dropped of them in training, but for pairs that are empty on a side."""
    given = []
    for number, (mark, lines) in enumerate(numbered([3] * 12)):
        long = f"{number} " * 30
        given.append((mark, [*lines, (long, long), lines[0], ("", "x")]))
    options = "max_length=20", "deduplicate=true", "valid_size=5", "test_size=5"
    assert files(run, given, *options)[0] == 0
    for split, expected in (("valid", 5), ("test", 5), ("train", 3)):
        assert {len(lines) for _, lines in documents(split)} == {expected}


def test_pairs_of_held_out_documents_leave_the_training_documents(run):
    shared = ("Guten Tag", "Good day")
    given = [(mark, [shared, *lines]) for mark, lines in numbered([3] * 12)]
    assert files(run, given, "valid_size=4", "test_size=4")[0] == 0
    assert [len(lines) for _, lines in documents("test") + documents("valid")] == [4, 4]
    assert all(len(lines) == 3 for _, lines in documents("train"))
    assert counts()["dropped"]["leaked"] == 10


def folder(run, *options: str) -> tuple[int, str]:
    """Run the recipe on a folder of documents, tokenised and lower-cased."""
    write("c/train.de", ["<d> ", 'Ein "Hund" läuft.', "Leer", "<d OKT>", "Er schläft.", "<d>", ""])
    write("c/train.en", ["<d>", 'A "dog" runs.', "", "<d  OKT >", "He sleeps.", "<d>", "gone"])
    for split in ("valid", "test"):
        write(f"c/{split}.de", ["<d>", "Er schläft.", "", "<d A-1>", "Zwei, <d>."])
        write(f"c/{split}.en", ["<d>", "He sleeps.", "Nothing", "<d A-1>", "Two, <d>."])
    write("c/plain.de", ["Ohne Marken.", "<d>."])
    write("c/plain.en", ["Without marks.", "<d>."])
    given = ["folder=c", "name=mine", *LANGS, "moses=true", "lowercase=true"]
    return run(pairs.main, *given, "extra_tests=[plain]", *options)


def test_marks_are_never_tokenised_lower_cased_or_counted(run):
    code, said = folder(run)
    assert code == 0
    tokens = MosesTokenizer("en").tokenize('A "dog" runs.', return_str=True).lower()
    assert read("train.en") == ["<d>", tokens, "<d OKT>", "he sleeps ."]
    assert read("test.raw.en") == ["<d>", "He sleeps.", "Nothing", "<d A-1>", "Two, <d>."]
    assert read("test.en")[3:] == ["<d A-1>", "two , &lt; d &gt; ."]
    assert "train: 2 pairs in 2 documents, tokens 9 de, 9 en" in said
    assert "test: 3 pairs in 2 documents, tokens 9 de, 10 en, 1 with an empty side, 1 pairs" in said
    # Statistics are of words, whatever was done to the text.
    assert counts()["test"]["document_lengths"]["words en"]["longest"] == 3


def test_a_text_that_does_not_begin_with_a_mark_has_no_documents(run):
    folder(run)
    assert read("plain.de") == ["ohne marken .", "&lt; d &gt; ."]
    assert "documents" not in counts()["plain"]


@pytest.mark.parametrize(
    ("de", "en", "said"),
    [
        (["<d>", "a"], ["b", "c"], "line 1 of a.de and of a.en must be the same mark"),
        (["a", "b"], ["<d>", "c"], "line 1 of a.de and of a.en must be the same mark"),
        (["<d>", "a", "b"], ["<d>", "a", "<d>"], "line 3 of a.de and of a.en"),
        (["a", "<d>", "b"], ["a", "<d>", "b"], "line 2 of a.de is the mark of a document, `<d>`"),
        (["<d x>", "a"], ["<d y>", "a"], "'<d x>' and '<d y>'"),
        (["<d>", "<d>"], ["<d>", "<d>"], "a.de and a.en hold only marks of documents"),
        (["<d>", "a"], ["<d>", "a"], "leave none of the 1 usable documents (1 pairs) to train on"),
        (["<d>", "a"] * 9, ["<d>", "a"] * 9, "documents are drawn whole"),
    ],
)
def test_unusable_documents_are_one_clear_line(run, de, en, said):
    write("a.de", de)
    write("a.en", en)
    sizes = ["valid_size=4", "test_size=5"]
    code, message = run(pairs.main, "source=a.de", "target=a.en", "name=mine", *LANGS, *sizes)
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not TEXT.exists()


def test_text_made_when_marks_were_text_is_not_taken_for_documents(run):
    files(run, list(numbered(SIZES)), "valid_size=20", "test_size=30")
    options = json.loads((TEXT / "prepare.json").read_text())["options"]
    assert options["documents"] is True
