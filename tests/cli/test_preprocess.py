"""What a user of reluformer-preprocess sees: the exit code and one line that says why."""

import json
import sys
from pathlib import Path

import pytest

from reluformer.cli.preprocess import main
from reluformer.config.data import DataConfig
from reluformer.data.corpus import Corpus

PAIR = ["data=custom", "data.name=mine", "data.source_lang=de", "data.target_lang=en"]


@pytest.fixture(autouse=True)
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small corpus in the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "mine" / "text"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("valid", 5)):
        for lang, words in (("de", "Ein Haus steht am See"), ("en", "A house stands by the lake")):
            lines = "".join(f"{words} {i}\n" for i in range(count))
            (folder / f"{split}.{lang}").write_text(lines, "utf-8", newline="\n")
    return folder


def preprocess(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["reluformer-preprocess", *arguments])
    try:
        main()
    except SystemExit as ended:
        return ended.code
    return 0


def test_a_corpus_is_made_and_knows_its_settings(monkeypatch, capsys) -> None:
    assert preprocess(monkeypatch, *PAIR, "data.vocab_size=60", "data.max_length=30") == 0
    reported = capsys.readouterr().err
    assert "train: 40 of 40 pairs" in reported
    assert "ready: data/mine/binary" in reported
    corpus = Corpus.open("data/mine/binary")
    config = DataConfig.of_manifest(corpus.manifest.data)
    assert (config.name, config.source_lang, config.target_lang) == ("mine", "de", "en")
    assert (config.vocab_size, config.max_length, config.text) == (60, 30, "data/mine/text")
    assert len(corpus.split("valid")) == 5


def spoil_line_count(text: Path) -> None:
    with (text / "train.en").open("a") as file:
        file.write("One line more\n")


def spoil_encoding(text: Path) -> None:
    (text / "valid.de").write_bytes(b"Ein\nSch\xf6n\nHaus\n\n\n")


def remove_valid(text: Path) -> None:
    (text / "valid.en").unlink()


def empty_train(text: Path) -> None:
    for lang in ("de", "en"):
        (text / f"train.{lang}").write_bytes(b"")


def blank_train(text: Path) -> None:
    for lang in ("de", "en"):
        (text / f"train.{lang}").write_bytes(b"\n \n")


def change_nothing(text: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "arguments", "parts"),
    [
        pytest.param(
            spoil_line_count,
            [],
            ["train.de has 40 lines", "train.en has 41", "line 41"],
            marks=pytest.mark.check("B1"),
        ),
        pytest.param(
            spoil_encoding,
            [],
            ["valid.de, line 2, byte 4", "not valid UTF-8 (0xf6)"],
            marks=pytest.mark.check("B2"),
        ),
        (remove_valid, [], ["valid.en does not exist"]),
        pytest.param(
            empty_train, [], ["train.de", "train.en are empty"], marks=pytest.mark.check("B3")
        ),
        pytest.param(
            blank_train, [], ["no text to learn a vocabulary from"], marks=pytest.mark.check("B3")
        ),
        (change_nothing, ["data.vocab_size=5000"], ["`vocab_size` is 5,000", "or less"]),
        (change_nothing, ["data.vocab_size=9"], ["`vocab_size` is 9", "`character_coverage`"]),
        (change_nothing, ["data.vocab_size=3"], ["`vocab_size` must be above 4", "but is 3"]),
        (change_nothing, ["data.vocab_size=3000000000"], ["and at most 1,000,000"]),
        (change_nothing, ["data.binary="], ["`binary` must be a folder, but is empty"]),
        (change_nothing, ["data.text=bad\udcff"], ["'data.text=bad\\udcff' is not valid UTF-8"]),
        (change_nothing, ["data.too_long=cry"], ["`too_long` must be one of drop, truncate"]),
        (change_nothing, ["data.max_ratio=0.5"], ["`max_ratio` must be 1 or greater"]),
        (
            change_nothing,
            ["data.character_coverage=2"],
            ["`character_coverage` must lie in [0.98, 1]"],
        ),
        (
            change_nothing,
            ["data.target_lang=de"],
            ["`source_lang` and `target_lang` are both 'de'"],
        ),
        (change_nothing, ["workers=0"], ["`workers` must be greater than 0"]),
        (change_nothing, ["data.text=nowhere"], ["nowhere/train.de does not exist"]),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    spoil, arguments, parts, text: Path, monkeypatch, capsys
) -> None:
    spoil(text)
    assert preprocess(monkeypatch, *PAIR, "data.vocab_size=60", *arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for part in parts:
        assert part in message
    folder = Path("data/mine/binary")
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= {".preprocess.lock"}


def test_another_corpus_is_replaced_only_when_asked(monkeypatch, capsys) -> None:
    assert preprocess(monkeypatch, *PAIR, "data.vocab_size=60") == 0
    manifest = Path("data/mine/binary/manifest.json").read_bytes()
    assert preprocess(monkeypatch, *PAIR, "data.vocab_size=50") == 2
    assert "`vocab_size` is 60 there and 50 here" in capsys.readouterr().err
    assert Path("data/mine/binary/manifest.json").read_bytes() == manifest
    assert preprocess(monkeypatch, *PAIR, "data.vocab_size=50", "overwrite=true") == 0
    replaced = json.loads(Path("data/mine/binary/manifest.json").read_bytes())
    assert replaced["vocabularies"]["source"]["size"] == 50
