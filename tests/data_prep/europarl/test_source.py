"""Reading the per-day source texts, with the irregularities of their tags."""

import pytest
from europarl import source as europarl_source
from europarl.source import DocumentKey, Turn, document_keys, is_tag, list_days, read_turns

from reluformer.errors import UserError


def turns(tmp_path, *lines: str) -> list[Turn]:
    path = tmp_path / "ep-00-01-17.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_turns(path)


def test_tags_come_in_many_forms(tmp_path):
    found = turns(
        tmp_path,
        *["Before all.", '<CHAPTER ID="001">', "A title", '<SPEAKER ID=1 NAME="President">'],
        *["One.", "<P>", "Two,", "on two lines.", "", "Three.", "<p>", "Four.<P>", "<BRK>"],
        *[
            '<SPEAKER LANGUAGE="DE" NAME="Ms A" ID="2">',
            "Five.",
            "<SPEAKER ID='3' NAME=\"x",
            "Six.",
        ],
        *[
            "<CHAPTER ID=2>",
            "<SPEAKER ID=4>",
            "<CHAPTER ID=3><SPEAKER>",
            "<SPEAKER>Seven.",
            "< 5 %.",
        ],
    )
    assert found == [
        Turn("", "", ["Before all."]),
        Turn("1", "", ["A title"]),
        Turn("1", "1", ["One.", "Two,\non two lines.", "Three.", "Four.<P>"]),
        Turn("1", "2", ["Five."]),
        Turn("1", "3", ["Six."]),
        Turn("3", "?", ["Seven.\n< 5 %."]),
    ]


def test_ids_that_occur_again_are_other_turns(tmp_path):
    lines = ["<SPEAKER ID=1>", "a", "<SPEAKER ID=1>", "b", "<CHAPTER ID=1>", "<SPEAKER ID=1>", "c"]
    ids = [(turn.chapter, turn.speaker) for turn in turns(tmp_path, *lines, *lines[-3:])]
    assert ids == [("", "1"), ("", "1.2"), ("1", "1"), ("1.2", "1")]


def test_a_document_is_a_turn_with_the_title_before_it_or_a_chapter(tmp_path):
    found = turns(
        tmp_path,
        *["<CHAPTER ID=1>", "Title", "<SPEAKER ID=1>", "a", "<SPEAKER ID=2>", "b"],
        *["<CHAPTER ID=2>", "No speaker", "<CHAPTER ID=3>", "Title", "<SPEAKER ID=1>", "c"],
    )
    name = "ep-00-01-17.txt"
    speakers = [(key.chapter, key.speaker) for key in document_keys(name, found, "speaker")]
    assert speakers == [("1", "1"), ("1", "1"), ("1", "2"), ("2", ""), ("3", "1"), ("3", "1")]
    chapters = document_keys(name, found, "chapter")
    assert [key.chapter for key in chapters] == ["1", "1", "1", "2", "3", "3"]
    assert DocumentKey("ep-00-01-17-003.txt", "1", "").day == "00-01-17"
    assert document_keys(name, [], "speaker") == []


def test_days_are_listed_from_the_oldest(tmp_path):
    folders = {lang: tmp_path / lang for lang in ("de", "en")}
    names = {
        "de": ["ep-00-01-17.txt", "ep-99-12-31.txt", "readme.txt", "ep-x.txt"],
        "en": ["ep-00-01-17.txt", "ep-09-04-21-002.txt", "ep-09-04-21-001.txt"],
    }
    for lang, folder in folders.items():
        folder.mkdir()
        for name in names[lang]:
            (folder / name).touch()
    assert list_days(folders) == [
        *["ep-99-12-31.txt", "ep-00-01-17.txt"],
        *["ep-09-04-21-001.txt", "ep-09-04-21-002.txt"],
    ]
    (folders["en"] / "ep-00-01-17.txt").unlink()
    with pytest.raises(UserError, match="share no day"):
        list_days(folders)
    with pytest.raises(ValueError, match="no name of a source text"):
        europarl_source.day_of("ep-x.txt")


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        *[("<P>", True), ('<SPEAKER ID=1 NAME="x">', True), (" <BRK> ", True), ("</P>", True)],
        *[("a <P>", False), ("< 5 %", False), ("Text", False), ("<a> b", False), ("", False)],
    ],
)
def test_lines_of_markup_are_told_from_text(line, tag):
    assert is_tag(line) == tag
