"""data_prep/pairs.py as a user runs it."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pairs
import pytest
import steps
from sacremoses import MosesTokenizer

LANGS = ("source_lang=de", "target_lang=en")
TEXT = Path("data/mine/text")


def write(path: str, lines: list[str]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    data = "".join(line + "\n" for line in lines).encode()
    Path(path).write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)


def read(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\n")[:-1]


def read_pairs(split: str) -> list[tuple[str, str]]:
    return list(zip(read(TEXT / f"{split}.de"), read(TEXT / f"{split}.en"), strict=True))


def replace(given: list[str], options: Iterable[str]) -> list[str]:
    """The settings given that no option sets anew."""
    keys = {option.partition("=")[0] for option in options}
    return [setting for setting in given if setting.partition("=")[0] not in keys]


def files(run, de: list[str], en: list[str], *options: str) -> tuple[int, str]:
    """Run the recipe on two files."""
    write("a.de", de)
    write("a.en.gz", en)
    given = ["source=a.de", "target=a.en.gz", "name=mine", *LANGS, "valid_size=5", "test_size=7"]
    return run(pairs.main, *replace(given, options), *options)


def numbered(count: int) -> tuple[list[str], list[str]]:
    return [f"Satz {i}" for i in range(count)], [f"sentence {i}" for i in range(count)]


def test_two_files_are_split_without_loss_or_overlap(run):
    de, en = numbered(60)
    assert files(run, de, en)[0] == 0
    train, valid, test = (read_pairs(split) for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (48, 5, 7)
    assert sorted(train + valid + test) == sorted(zip(de, en, strict=True))
    # Within a split the order is the text's, as documents need it.
    assert all(s == sorted(s, key=lambda pair: de.index(pair[0])) for s in (train, valid, test))
    # Plain true-case text is what scoring needs already.
    assert not list(TEXT.glob("*.raw.*"))


def test_every_nth_pair_is_held_out_in_turn(run):
    de, en = numbered(30)
    assert files(run, de, en, "every_nth=4")[0] == 0
    assert [pair[0] for pair in read_pairs("valid")] == ["Satz 3", "Satz 11", "Satz 19", "Satz 27"]
    assert [pair[0] for pair in read_pairs("test")] == ["Satz 7", "Satz 15", "Satz 23"]


def test_repeated_pairs_do_not_leak_into_the_test_set(run):
    de, en = numbered(30)
    assert files(run, de * 2, en * 2)[0] == 0
    train, valid, test = (set(read_pairs(split)) for split in ("train", "valid", "test"))
    assert not train & test
    assert not train & valid
    assert not valid & test
    counts = json.loads((TEXT / "prepare.json").read_text())["counts"]
    kept = sum(counts[split]["pairs"] for split in ("train", "valid", "test"))
    assert counts["read"] == 60 == kept + counts["dropped"]["leaked"]
    assert counts["dropped"]["leaked"] > 0


@pytest.mark.check("B3")
def test_drops_are_counted_by_reason(run):
    de, en = numbered(20)
    de += ["", "Wort", "lang " * 40, "zwei Wörter", "Satz 3"]
    en += ["empty on one side", "  ", "long " * 40, "four words are here", "sentence 3"]
    filters = ("max_length=39", "max_ratio=1.9", "deduplicate=true")
    code, said = files(run, de, en, *filters)
    assert code == 0
    assert "1 too long, 1 bad ratio, 1 duplicate" in said
    counts = json.loads((TEXT / "prepare.json").read_text())["counts"]
    reasons = {"empty": 2, "too_long": 1, "bad_ratio": 1, "duplicate": 1, "leaked": 0}
    assert counts["dropped"] == reasons
    assert counts["train"]["pairs"] == 8


@pytest.mark.check("B2")
def test_odd_characters_end_no_line_and_survive(run):
    de, en = numbered(20)
    odd = ["a\u2028b", "c\u0085d", "e\x0cf", "g\rh", "\u202eRTL", "k\x1cl", "i" + "\u0301" * 200]
    assert files(run, de + odd, en + odd)[0] == 0
    kept = [pair for split in ("train", "valid", "test") for pair in read_pairs(split)]
    assert {(line, line) for line in odd} <= set(kept)


@pytest.mark.check("B2")
@pytest.mark.parametrize("moses", ["true", "false"])
def test_no_line_moves_whatever_it_holds(run, moses):
    odd = ["\x00", "\u2028", "a\x00b", "\u2028 c \u2029", "\ufeffd", "\u200b", "e\r\rf", "\t g"]
    de = [text for i in range(40) for text in (odd[i % len(odd)], f"Satz {i}.")]
    en = [text for i in range(40) for text in (f"odd {i}", f"sentence {i}.")]
    assert files(run, de, en, f"moses={moses}")[0] == 0
    numbers = 0
    for split in ("train", "valid", "test"):
        for source, target in read_pairs(split):
            if source.startswith("Satz"):
                assert source.rstrip(" .").split()[-1] == target.rstrip(" .").split()[-1]
                numbers += 1
    assert numbers == 40
    counts = json.loads((TEXT / "prepare.json").read_text())["counts"]
    kept = sum(counts[split]["pairs"] for split in ("train", "valid", "test"))
    assert kept + sum(counts["dropped"].values()) == counts["read"] == 80


@pytest.mark.check("B7")
@pytest.mark.slow
def test_the_result_does_not_depend_on_interruptions(run, contents, monkeypatch):
    de, en = [f"Satz, {i}!" for i in range(60)], [f"“sentence” {i}" for i in range(60)]
    assert files(run, de, en, "moses=true", "name=whole")[0] == 0
    write_lines = steps.write_lines
    stops = 0
    files_left = 0

    def stop_after_some_files(path: Path, lines: Iterable[str]) -> None:
        nonlocal files_left
        if files_left == 0:
            path.with_name(path.name + ".partial").write_text("half a li")
            raise KeyboardInterrupt
        files_left -= 1
        write_lines(path, lines)

    monkeypatch.setattr(steps, "write_lines", stop_after_some_files)
    while (code := files(run, de, en, "moses=true")[0]) != 0:
        assert code == 130
        assert not TEXT.exists()
        stops += 1
        files_left = stops
    assert stops > 5
    assert contents(Path("data/mine")) == contents(Path("data/whole"))


def folder(run, *options: str) -> tuple[int, str]:
    """Run the recipe on a folder: train, val and two test sets, tokenised and lower-cased."""
    write("c/train.de.gz", ['Ein "Hund" läuft.', "Die Katze & der Hund", "Leer", "Er schläft."])
    write("c/train.en.gz", ['A "dog" runs.', "The cat & the dog", "", "He sleeps."])
    write("c/val.de", ['Das ist "neu"!', ""])
    write("c/val.en", ["It's it!", "Nothing"])
    write("c/test_2016.de", ["Er schläft."])
    write("c/test_2016.en", ["He sleeps."])
    write("c/test_2017.de", ["Noch Ein Satz."])
    write("c/test_2017.en", ["One More Sentence."])
    given = ["folder=c", "name=mine", *LANGS, "splits.valid=val", "splits.test=test_2016"]
    return run(pairs.main, *replace(given, options), "moses=true", "lowercase=true", *options)


def test_a_folder_keeps_its_splits(run):
    code, said = folder(run, "extra_tests=[test_2017]")
    assert code == 0
    english = MosesTokenizer("en")
    for split, lines in (
        ("train", ['A "dog" runs.', "The cat & the dog", "He sleeps."]),
        ("valid", ["It's it!", "Nothing"]),
        ("test", ["He sleeps."]),
        ("test_2017", ["One More Sentence."]),
    ):
        tokens = [english.tokenize(line, return_str=True).lower() for line in lines]
        assert read(TEXT / f"{split}.en") == tokens
        assert (TEXT / f"{split}.raw.en").exists() == (split != "train")
        if split != "train":
            assert read(TEXT / f"{split}.raw.en") == lines
    assert read(TEXT / "valid.de") == ["das ist &quot; neu &quot; !", ""]
    assert "test: 1 pairs, tokens 3 de, 3 en, 1 pairs also in train" in said
    assert "valid: 2 pairs, tokens 6 de, 5 en, 1 with an empty side" in said


def test_the_same_folder_serves_both_directions(run, contents):
    folder(run)
    before = contents(Path("data"))
    code, said = folder(run, "source_lang=en", "target_lang=de")
    assert code == 0
    assert "already prepared" in said
    folder(run, "name=other", "source_lang=en", "target_lang=de")
    for file in ("train.de", "train.en", "valid.raw.de", "test.en"):
        assert (TEXT / file).read_bytes() == Path(f"data/other/text/{file}").read_bytes()
    assert before.items() <= contents(Path("data")).items()


def test_a_second_run_does_nothing_and_a_different_one_is_refused(run, contents):
    de, en = numbered(30)
    files(run, de, en)
    before = contents(Path("data"))
    assert "already prepared" in files(run, de, en)[1]
    code, said = files(run, de, en, "seed=2")
    assert code == 2
    assert "seed was 1, now 2" in said
    assert contents(Path("data")) == before
    assert files(run, de, en, "seed=2", "overwrite=true")[0] == 0
    assert contents(Path("data")) != before


@pytest.mark.parametrize(
    ("de", "en", "said"),
    [
        pytest.param(
            ["a"] * 30,
            ["b"] * 29,
            "a.de has 30 lines, but a.en.gz has 29",
            marks=pytest.mark.check("B1"),
        ),
        pytest.param([], [], "a.de and a.en.gz hold no lines", marks=pytest.mark.check("B3")),
        pytest.param(
            [""] * 30, [" "] * 30, "leave none of the 0 usable pairs", marks=pytest.mark.check("B3")
        ),
        (["a"] * 12, ["b"] * 12, "leave none of the 12 usable pairs"),
        (["a"] * 30, ["b"] * 30, "none is left for train"),
    ],
)
def test_unusable_text_is_one_clear_line(run, de, en, said):
    code, message = files(run, de, en)
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not TEXT.exists()


@pytest.mark.check("B2")
def test_invalid_utf8_names_file_line_and_byte(run):
    write("a.en", ["x"] * 3)
    Path("a.de").write_bytes(b"eins\nzw\xffei\ndrei\n")
    code, said = run(pairs.main, "source=a.de", "target=a.en", "name=mine", *LANGS)
    assert code == 2
    assert "a.de, line 2, byte 3: not valid UTF-8 (0xff)" in said
    assert not Path("data").exists()


@pytest.mark.check("B1")
def test_unequal_counts_of_the_test_set_are_found_before_any_work(run):
    folder(run)
    write("c/test_2016.de", ["zwei", "Zeilen"])
    given = ("folder=c", "name=other", *LANGS, "splits.valid=val", "splits.test=test_2016")
    code, said = run(pairs.main, *given)
    assert code == 2
    assert "c/test_2016.de has 2 lines, but c/test_2016.en has 1" in said
    assert not Path("data/other").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["source=a.de"], "either `source` and `target` (two files) or `folder`"),
        (["source=a.de", "target=a.en", "folder=c"], "either `source` and `target`"),
        (["source=a.de", "folder=c"], "either `source` and `target`"),
        (["source=no.de", "target=a.en"], "`source` names no.de, which is not a file"),
        (["source=a.de", "target=a.de"], "`source` and `target` are the same file, a.de"),
        (["source=a.de", "target=a.en", "extra_tests=[x]"], "`extra_tests` are for `folder`"),
        (["folder=c", "every_nth=9"], "`every_nth` is for two files"),
        (["folder=both"], "both/train.de is there, and both/train.de.gz too"),
        (["folder=nowhere"], "`folder` names nowhere, which is not a folder"),
        (["folder=c"], "no valid.de or valid.de.gz in c; it holds test_2016.de, test_2017.de,"),
        (["folder=c"], "set splits.valid=... to the name before .de"),
        (["folder=c", "source_lang=fr"], "nothing in it ends in .fr"),
        (["folder=c", "extra_tests=[test]"], "`extra_tests` can't hold 'test'"),
        (["folder=c", "extra_tests=[../x]"], "`extra_tests` must be"),
        (["folder=c", "target_lang=de"], "`source_lang` and `target_lang` are both 'de'"),
        (["folder=c", "max_ratio=0.5"], "`max_ratio` must be at least 1, but is 0.5"),
        (["folder=c", "name=../up"], "`name` must be"),
        (["folder=c", "max_lenght=3"], "max_length"),
    ],
)
def test_wrong_settings_are_one_clear_line(run, arguments, said):
    folder(run)
    write("a.de", ["a"])
    write("a.en", ["b"])
    for name in ("train.de", "train.de.gz"):
        write(f"both/{name}", ["c"])
    given = replace([*LANGS, "name=other"], arguments)
    code, message = run(pairs.main, *given, *arguments)
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not Path("data/other/text").exists()


def test_the_script_runs_from_any_folder_with_several_processes(tmp_path):
    count = 5_000  # more than one chunk of work
    os.chdir(tmp_path)
    write("a.de", [f"Hund, Nummer {i}, bellt." for i in range(count)])
    write("a.en", [f"The dog, number {i}." for i in range(count)])
    given = ["source=a.de", "target=a.en", "name=mine", *LANGS, "moses=true", "workers=2"]
    script = Path(pairs.__file__)
    subprocess.run([sys.executable, script, *given], check=True, cwd=tmp_path, timeout=120)
    lines = read(tmp_path / TEXT / "train.de")
    assert len(lines) == count - 2_000
    assert all(line.startswith("Hund , Nummer ") and line.endswith(" , bellt .") for line in lines)
