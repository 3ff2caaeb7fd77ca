"""data_prep/europarl7.py on a release of known documents, with the real one's irregularities."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from random import Random

import europarl7
import pytest
import steps
from europarl_imitation import (
    DAYS,
    ENGLISH_ONLY,
    LANGS,
    NOT_IN_PAIRS,
    NOT_IN_SOURCE,
    OPENING,
    Key,
    Pair,
    Release,
    read,
    write,
)

TEXT = Path("data/europarl7/text")


def documents(split: str, text: Path = TEXT) -> list[tuple[str, list[Pair]]]:
    """The documents of a split, each with its mark."""
    made: list[tuple[str, list[Pair]]] = []
    for pair in zip(*(read(text / f"{split}.{lang}") for lang in LANGS), strict=True):
        if pair[0].startswith("<d"):
            assert pair[0] == pair[1]
            made.append((pair[0], []))
        else:
            made[-1][1].append(pair)
    return made


def counts() -> dict:
    return json.loads((TEXT / "prepare.json").read_text())["counts"]


SPLITS = ("train", "valid", "test")


def check_documents(release: Release, speakers: bool) -> tuple[int, int]:
    """Each document has pairs of a single true one only, in order; returns right pairs and all."""
    known: dict[Pair, set[Key]] = {}
    true: dict[Key, list[Pair]] = {}
    for pair, place in zip(release.pairs, release.truth, strict=True):
        if place is not None:
            key = place if speakers else (*place[:2], "")
            known.setdefault(pair, set()).add(key)
            true.setdefault(key, []).append(pair)
    seen, right = set(), 0
    for split in SPLITS:
        for mark, pairs in documents(split):
            possible = set.intersection(*(known[pair] for pair in pairs)) - seen
            possible = {key for key in possible if mark == f"<d {key[0]}>"}
            assert possible, pairs
            key = possible.pop()
            left = iter(true[key])
            assert all(pair in left for pair in pairs)
            right += len(pairs)
            if not possible:
                seen.add(key)
    return right, sum(map(len, true.values()))


@pytest.mark.parametrize("kind", ["speaker", "chapter"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_pair_lands_in_its_document(run, kind, seed):
    release = Release(Random(seed))
    code, said = run(europarl7.main, *release.unpack(), f"documents={kind}")
    assert code == 0, said
    right, placeable = check_documents(release, speakers=kind == "speaker")
    assert right > 0.98 * placeable
    assembled = counts()["assembled"]
    assert assembled["read"] == len(release.pairs)
    assert assembled["read"] - assembled["kept"] == sum(assembled["dropped"].values())
    assert assembled["kept"] == right == counts()["read"]
    assert assembled["dropped"]["empty_side"] == assembled["dropped"]["markup"] == 1
    assert f"placed in the source texts: {right:,} pairs; left out: 1 empty side, 1 markup" in said


def test_archives_give_what_folders_do_and_nothing_escapes(run, contents):
    release = Release(Random(1))
    assert run(europarl7.main, *release.unpack(), "name=unpacked")[0] == 0
    assert run(europarl7.main, *release.pack())[0] == 0
    for name, data in contents(Path("data/unpacked/text")).items():
        if name != "prepare.json":
            assert (TEXT / name).read_bytes() == data
    assert not list(Path().rglob("evil.txt"))
    assert not list(Path("data/europarl7").rglob("ep-*.txt"))


def test_the_order_of_the_days_in_the_aligned_files_does_not_matter(run):
    release = Release(Random(1))
    assert run(europarl7.main, *release.unpack())[0] == 0
    before = [documents(split) for split in SPLITS]
    lines = list(zip(release.pairs, release.truth, strict=True))
    last_century = [line for line in lines if line[1] is None or line[1][0] > "90"]
    others = [line for line in lines if line not in last_century]
    release.pairs = [pair for pair, _ in last_century + others]
    assert run(europarl7.main, *release.unpack(), "overwrite=true")[0] == 0
    after = [documents(split) for split in SPLITS]
    assert after[0] != before[0]
    assert all(sorted(a) == sorted(b) for a, b in zip(after[1:], before[1:], strict=True))
    assert len(set(map(str, after[0])) ^ set(map(str, before[0]))) < 6


def test_splits_are_of_whole_days(run):
    release = Release(Random(1))
    code, said = run(europarl7.main, *release.unpack())
    assert code == 0
    days = {split: {mark[3:-1] for mark, _ in documents(split)} for split in SPLITS}
    assert days["valid"] == {"00-10-02", "00-10-24"}
    assert days["test"] == {"00-11-13", "00-12-14"}
    assert days["train"] == set(DAYS) - days["valid"] - days["test"] - {NOT_IN_SOURCE, NOT_IN_PAIRS}
    # Not a second time, until something else is wanted.
    assert "already prepared" in run(europarl7.main, *release.unpack())[1]
    code, said = run(europarl7.main, *release.unpack(), "valid_days=[00-10-02]")
    assert code == 2
    assert "valid_days was ['00-10'], now ['00-10-02']" in said


def test_held_out_documents_can_be_capped_and_none_of_their_days_is_trained_on(run):
    release = Release(Random(1))
    given = [*release.unpack(), "valid_documents=3", "test_days=[00-11,00-12-14]"]
    assert run(europarl7.main, *given)[0] == 0
    assert [mark for mark, _ in documents("valid")] == ["<d 00-10-02>"] * 3
    assert not {mark for mark, _ in documents("train")} & {"<d 00-10-02>", "<d 00-10-24>"}
    count = counts()
    assert count["dropped"]["unused"] > 0
    assert count["read"] == sum(count["dropped"].values()) + sum(
        count[split]["pairs"] for split in SPLITS
    )


def test_only_training_pairs_are_cleaned_and_marks_stay_as_they_are(run):
    release = Release(Random(1))
    run(europarl7.main, *release.unpack(), "name=raw", "max_length=null")
    form = ["moses=true", "lowercase=true", "max_length=11", "max_ratio=3", "workers=1"]
    assert run(europarl7.main, *release.unpack(), *form)[0] == 0
    assert counts()["dropped"]["too_long"] > 0
    for split in SPLITS:
        made, raw = documents(split), documents(split, Path("data/raw/text"))
        assert all(line == line.lower() for _, pairs in made for pair in pairs for line in pair)
        if split == "train":
            assert max(len(line.split()) for _, d in made for pair in d for line in pair) == 11
            assert {mark for mark, _ in made} <= {mark for mark, _ in raw}
        else:
            assert [(mark, len(pairs)) for mark, pairs in made] == [(m, len(p)) for m, p in raw]
            assert read(TEXT / f"{split}.raw.de") == read(Path(f"data/raw/text/{split}.de"))


def test_what_valid_and_test_share_with_train_is_told(run):
    code, said = run(europarl7.main, *Release(Random(1)).unpack())
    assert code == 0
    test = counts()["test"]
    shared = sum(pair == OPENING for _, pairs in documents("test") for pair in pairs)
    assert test["long_sentences_de_also_in_train"] == shared > 0
    assert test["long_sentences_en_also_in_train"] == shared
    assert test["pairs_also_in_train"] > shared
    assert f"{shared} long sentences de also in train" in said


def test_the_result_does_not_depend_on_interruptions(run, contents, monkeypatch):
    given = Release(Random(1)).pack()
    assert run(europarl7.main, *given, "lowercase=true", "name=whole")[0] == 0
    writers = {name: getattr(steps, name) for name in ("write_lines", "write_parallel")}
    files_left = stops = 0

    def stopping(name: str):
        def write_or_stop(*arguments: object) -> None:
            nonlocal files_left
            if files_left == 0:
                raise KeyboardInterrupt
            files_left -= 1
            writers[name](*arguments)

        return write_or_stop

    for name in writers:
        monkeypatch.setattr(steps, name, stopping(name))
    while (code := run(europarl7.main, *given, "lowercase=true")[0]) != 0:
        assert code == 130
        assert not TEXT.exists()
        stops += 1
        files_left = 2 * stops
    assert stops > 3
    assert contents(Path("data/europarl7")) == contents(Path("data/whole"))


@pytest.mark.check("determinism")
@pytest.mark.slow
def test_several_processes_give_what_one_does(run, tmp_path):
    """In a process of its own, as only a script shows whether its workers find its modules."""
    days = [f"{year}-{month:02d}-04" for year in ("99", "00", "01", "02") for month in range(1, 13)]
    Release(Random(1), days=days).unpack(tmp_path)
    given = ["source=release", "alignment=gale_church", "test_days=[01-01]"]
    assert run(europarl7.main, *given, "name=alone", "workers=1")[0] == 0
    script = [sys.executable, europarl7.__file__, *given, "workers=2"]
    subprocess.run(script, check=True, cwd=tmp_path, timeout=120)
    for split in SPLITS:
        assert documents(split) == documents(split, Path("data/alone/text"))


# ---- Source texts alone ----


@pytest.mark.parametrize("kind", ["speaker", "chapter"])
def test_source_texts_alone_are_aligned(run, kind):
    days = [day for day in DAYS if day not in (NOT_IN_SOURCE, NOT_IN_PAIRS)]
    release = Release(Random(1), days=days, gaps=0)
    release.unpack()
    given = ["source=release/txt", "alignment=gale_church", f"documents={kind}"]
    code, said = run(europarl7.main, *given)
    assert code == 0
    dropped = release.files[f"txt/en/ep-{ENGLISH_ONLY}.txt"]
    expected = [
        (f"<d {place[0]}>", pair)
        for pair, place in zip(release.pairs, release.truth, strict=True)
        if place is not None and place[0] != ENGLISH_ONLY and "niemand" not in pair[0]
    ]
    made = [(mark, pair) for split in SPLITS for mark, pairs in documents(split) for pair in pairs]
    assert sorted(made) == sorted(expected)
    assert len(documents("valid")) == (6 if kind == "chapter" else 16)
    assembled = counts()["assembled"]
    assert assembled["kept"] == len(made) == sum(assembled["kinds"].values())
    assert assembled["kinds"]["2-1"] > 20
    sentences = " ".join(line for line in dropped if "<" not in line)
    assert assembled["dropped"]["on_days_of_one_side"] > 0.9 * sentences.count(".")
    assert "aligned by length: " in said


def test_turns_are_matched_by_their_ids(run):
    texts = {
        "de": [
            *["<CHAPTER ID=1>", "Titel", "<SPEAKER ID=1>", "Erster Absatz.", "<P>", "Der zweite."],
            *["<SPEAKER ID=2>", "Nur auf Deutsch gesagt. Zwei Sätze."],
            *["<SPEAKER ID=3>", "Gleich viele.", "<SPEAKER ID=3>", "Noch einmal dieselbe Nummer."],
        ],
        "en": [
            *['<CHAPTER ID="001">', "Title", '<SPEAKER ID="1">', "First paragraph. The second."],
            *['<SPEAKER ID="3">', "As many.", '<SPEAKER ID="3">', "Once more the same number."],
            *['<SPEAKER ID="4" NAME="X">', "In English only."],
        ],
    }
    for lang, lines in texts.items():
        for day in ("99-01-01", "00-10-01", "00-11-01"):
            write(Path(f"release/txt/{lang}/ep-{day}.txt"), lines)
    given = ["source=release", "alignment=gale_church", "test_days=[00-11]"]
    assert run(europarl7.main, *given)[0] == 0
    assert documents("train") == [
        (
            "<d 99-01-01>",
            [
                ("Titel", "Title"),
                ("Erster Absatz.", "First paragraph."),
                ("Der zweite.", "The second."),
            ],
        ),
        ("<d 99-01-01>", [("Gleich viele.", "As many.")]),
        ("<d 99-01-01>", [("Noch einmal dieselbe Nummer.", "Once more the same number.")]),
    ]
    assembled = counts()["assembled"]
    assert assembled["turns_aligned_as_a_whole"] == 3
    assert assembled["dropped"]["in_turns_of_one_side"] == 9
    chapters = "documents=chapter", "name=europarl7", "overwrite=true"
    assert run(europarl7.main, *given, *chapters)[0] == 0
    assert [len(pairs) for _, pairs in documents("train")] == [5]


# ---- The document release ----


def write_release(folder: Path, name: str, **text: list[str]) -> None:
    for lang, lines in text.items():
        write(folder / name.format(lang=lang), lines)


def test_the_document_release_is_taken_as_it_is(run):
    for split in ("train", "dev", "test"):
        de = ["<d>\r", f"Satz  eins, {split}.  \r", "Zwei", "<d> \r", "drei\r", "<d>", ""]
        en = ["<d>", f"sentence one, {split}.\r", "Two ", "<d>\r", " three", "<d>", "nothing"]
        write_release(Path("doc"), f"concatenated_en2de_{split}_{{lang}}.txt", de=de, en=en)
    code, said = run(europarl7.main, "folder=doc")
    assert code == 0
    assert read(TEXT / "train.de") == ["<d>", "Satz  eins, train.", "Zwei", "<d>", "drei"]
    assert read(TEXT / "train.en") == ["<d>", "sentence one, train.", "Two", "<d>", "three"]
    assert read(TEXT / "valid.de") == ["<d>", "Satz  eins, dev.", "Zwei", "<d>", "drei", "<d>", ""]
    count = counts()
    assert count["dropped"]["empty"] == 1
    assert (count["train"]["documents"], count["valid"]["documents"]) == (2, 3)
    assert "test: 4 pairs in 3 documents" in said
    assert "2 pairs also in train" in said


def test_the_real_document_release(run, corpora):
    code, said = run(europarl7.main, f"folder={corpora / 'europarl7-doc'}", "splits.train=dev")
    assert code == 0
    assert "warning: train and valid are both dev.de" in said
    # As counted from these files by others: mean, median, longest; of 512, of 1024 words.
    for split, documents, pairs, *words in (
        ("valid", 240, 3_587, 379, 308, 3_054, 49, 5),
        ("test", 360, 5_134, 362, 296, 2_756, 57, 9),
    ):
        count = counts()[split]
        assert (count["documents"], count["pairs"]) == (documents, pairs)
        english = count["document_lengths"]["words en"]
        found = [english[key] for key in ("mean", "median", "longest")]
        assert [round(number) for number in found] == words[:3]
        assert [english["reaching"][length] for length in ("512", "1024")] == words[3:]
    assert "test: 5,134 pairs in 360 documents, tokens 120,852 de, 130,174 en" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"en": ["<d>", "a", "b", "<d>"]}, "line 3 of doc/test.de and of doc/test.en must be the"),
        ({"en": ["a", "b", "c", "d"]}, "line 1 of doc/test.de"),
        ({"de": ["a"] * 4, "en": ["b"] * 4}, "test.en have no marks of documents"),
        ({"en": ["<d>"]}, "has 4 lines, but doc/test.en has 1"),
    ],
)
@pytest.mark.check("B1")
def test_a_damaged_document_release_is_one_clear_line(run, change, said):
    text = {"de": ["<d>", "a", "<d>", "b"], "en": ["<d>", "a", "<d>", "b"]}
    for split in ("train", "valid", "test"):
        write_release(
            Path("doc"), f"{split}.{{lang}}", **text | (change if split == "test" else {})
        )
    code, message = run(europarl7.main, "folder=doc")
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not TEXT.exists()


# ---- Errors ----


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["documents=day"], "`documents` must be speaker or chapter, but is 'day'"),
        (["alignment=hunalign"], "`alignment` must be official or gale_church"),
        (["alignment=gale_church"], "drop it, or alignment=gale_church"),
        (["folder=release"], "`pairs` is of the release by days; a `folder` is taken with"),
        (["folder=x", "pairs=null", "source=null", "test_documents=9"], "`test_documents` is of"),
        (["pairs=nowhere"], "`pairs` names nowhere, which is neither a file nor a folder"),
        (["pairs=empty"], "`pairs` names empty, which lacks europarl-v7.de-en.de"),
        (["source=nowhere"], "`source` names nowhere, which is neither a file nor a folder"),
        (["source=empty"], "`source` names empty, which has neither txt/de and txt/en nor"),
        (["source=textless"], "textless/de holds no source texts, such as ep-00-01-17.txt"),
        (["source=other.tgz"], "other.tgz holds nothing of the form"),
        (["pairs=other.tgz"], "other.tgz holds nothing of the form"),
        (["test_days=[05-01]"], "no day of the text begins with 05-01 of `test_days`"),
        (["test_days=[05-01]"], "there are days from 96-04-15 to 09-04-21"),
        (["test_days=[october]"], "`test_days` must be days or beginnings of them"),
        (["test_days=[00-10-24]"], "`valid_days` and `test_days` share 00-10-24"),
        (["valid_documents=0"], "`valid_documents` must be at least 1, but is 0"),
        (["test_days=[00,01,03,09,99]", "valid_days=[96]"], "none is left for train"),
        (["max_words=3"], "max_words"),
        (["pairs=swapped"], "are both of the same release?"),
        (["pairs=null", "pairs_url=http://127.0.0.1:1/x"], "is not an https address"),
    ],
)
def test_wrong_settings_and_sources_are_one_clear_line(run, arguments, said):
    given = Release(Random(1)).unpack()
    for folder in ("empty", "textless/de", "textless/en", "swapped"):
        Path(folder).mkdir(parents=True)
    for lang, other in (("de", "en"), ("en", "de")):
        shutil.copy(f"release/europarl-v7.de-en.{lang}", f"swapped/europarl-v7.de-en.{other}")
    with tarfile.open("other.tgz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("txt/fr/ep-96-04-15.txt"), io.BytesIO())
    chosen = {argument.partition("=")[0] for argument in arguments}
    given = [argument for argument in given if argument.partition("=")[0] not in chosen]
    code, message = run(europarl7.main, *given, *arguments)
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not TEXT.exists()


@pytest.mark.check("B2")
def test_text_that_is_no_utf8_names_file_line_and_byte(run):
    given = Release(Random(1)).unpack()
    path = Path("release/txt/en/ep-99-10-04.txt")
    path.write_bytes(path.read_bytes() + b"caf\xe9\n")
    line = path.read_bytes().count(b"\n")
    code, message = run(europarl7.main, *given)
    assert code == 2
    assert f"{path}, line {line}, byte 4: not valid UTF-8 (0xe9)" in message
