"""data_prep/iwslt14.py against the published preparation, re-done here with sed, grep and awk."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import iwslt14
import pytest
from sacremoses import MosesTokenizer

LANGS = ("de", "en")
TEXT = Path("data/iwslt14/text")
CORPORA = os.environ.get("RELUFORMER_CORPORA") or Path(__file__).parents[3] / "shared/corpora"
ARCHIVE = Path(CORPORA) / "iwslt-ted" / "de-en.tgz"

# prepare-iwslt14.sh's own steps, but for the tokeniser.
STRIP_TRAIN = (
    "grep -v '<url>' $F | grep -v '<talkid>' | grep -v '<keywords>' | sed -e 's/<title>//g' |"
    " sed -e 's/<\\/title>//g' | sed -e 's/<description>//g' | sed -e 's/<\\/description>//g'"
)
STRIP_TEST = (
    "grep '<seg id' $F | sed -e 's/<seg id=\"[0-9]*\">\\s*//g' | sed -e 's/\\s*<\\/seg>\\s*//g' |"
    ' sed -e "s/\\’/\\\'/g"'
)
SETS = ["TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"]


def talk(lang: str, number: int) -> list[str]:
    """A talk as in train.tags: markup, an apostrophe, sides of unlike and of great length."""
    word = {"de": "Wort", "en": "word"}[lang]
    many = {"de": 3, "en": 5}[lang]
    return [
        f"<url>http://x/{number}</url>",
        "<keywords>a, b</keywords>",
        "<speaker>Jane Doe</speaker>",
        f"<talkid>{number}</talkid>",
        f"<title>Jane Doe: Title {number}</title>",
        f"<description>What it’s about, in {number} {word}s</description>",
        f"  {word} {word.upper()} — “{word}”, it's {number}. ",
        " ".join([word] * many),  # 5 to 3: above the ratio
        " ".join([word] * (174 + number % 4)),  # 174 to 177: around the greatest length
        *(f"{word.title()} {line} von {number}." for line in range(9)),
    ]


def xml_lines(lang: str, name: str) -> list[str]:
    segments = [f"It’s {name} R&amp;D in {lang}, nr. {i} &lt;b&gt;" for i in range(3)]
    return [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<title>Never {name}</title>",
        *(f'<seg id="{i}"> {segment}  </seg>' for i, segment in enumerate(segments, 1)),
        "</doc>",
    ]


def official_layout() -> dict[str, list[str]]:
    files = {}
    for lang in LANGS:
        files[f"de-en/train.tags.de-en.{lang}"] = [ln for n in range(12) for ln in talk(lang, n)]
        for name in [*SETS, "TED.tst2013"]:
            files[f"de-en/IWSLT14.{name}.de-en.{lang}.xml"] = xml_lines(lang, name)
    return files


def pack(files: dict[str, list[str]]) -> str:
    """Make de-en.tgz (lone surrogates become bytes that are no UTF-8); return the argument."""
    with tarfile.open("de-en.tgz", "w:gz") as tar:
        for name, lines in files.items():
            info = tarfile.TarInfo(name)
            data = "".join(line + "\n" for line in lines).encode(errors="surrogateescape")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return "archive=de-en.tgz"


def shell(command: str, file: str) -> list[str]:
    environment = {**os.environ, "F": file, "LC_ALL": "C.UTF-8"}
    output = subprocess.run(
        ["sh", "-c", command], check=True, capture_output=True, env=environment
    ).stdout
    return output.decode().split("\n")[:-1]


def tokenised(lines: list[str], lang: str) -> list[str]:
    tokenizer = MosesTokenizer(lang)
    return [tokenizer.tokenize(line, return_str=True) for line in lines]


def published_preparation(archive: Path, folder: Path) -> dict[str, list[str]]:
    """train, valid and test of both languages by the shell's tools and a plain loop."""
    subprocess.run(["tar", "xzf", archive, "-C", folder], check=True)
    raw = {lang: shell(STRIP_TRAIN, f"{folder}/de-en/train.tags.de-en.{lang}") for lang in LANGS}
    tokens = {lang: tokenised(raw[lang], lang) for lang in LANGS}
    clean: list[tuple[str, str]] = []
    for de, en in zip(tokens["de"], tokens["en"], strict=True):
        n, m = len(de.split()), len(en.split())
        if 1 <= n <= 175 and 1 <= m <= 175 and n / m <= 1.5 and m / n <= 1.5:
            clean.append((de.lower(), en.lower()))
    result = {}
    for side, lang in enumerate(LANGS):
        (folder / "clean").write_text("".join(pair[side] + "\n" for pair in clean))
        result[f"valid.{lang}"] = shell("awk 'NR%23 == 0' $F", f"{folder}/clean")
        result[f"train.{lang}"] = shell("awk 'NR%23 != 0' $F", f"{folder}/clean")
        names = [f"{folder}/de-en/IWSLT14.{name}.de-en.{lang}.xml" for name in SETS]
        test = [line for name in names for line in shell(STRIP_TEST, name)]
        result[f"test.{lang}"] = [line.lower() for line in tokenised(test, lang)]
    return result


def read(name: str) -> list[str]:
    return (TEXT / name).read_bytes().decode().split("\n")[:-1]


def test_the_published_steps_are_followed(run, tmp_path):
    code, said = run(iwslt14.main, pack(official_layout()))
    assert code == 0
    (tmp_path / "shell").mkdir()
    for name, lines in published_preparation(Path("de-en.tgz"), tmp_path / "shell").items():
        assert read(name) == lines, name
    dropped = json.loads((TEXT / "prepare.json").read_text())["counts"]["dropped"]
    assert dropped["bad_ratio"] == 12
    assert dropped["too_long"] == 6
    assert "test pairs: 15, DIFFERS from the published 6,750" in said
    assert "This is not the official training text" in said


def test_raw_text_is_what_people_read(run):
    run(iwslt14.main, pack(official_layout()))
    assert read("test.raw.de")[0] == "It’s TED.dev2010 R&D in de, nr. 0 <b>"
    assert len(read("test.raw.en")) == 15
    for lang in LANGS:
        raw = read(f"valid.raw.{lang}")
        assert [line.lower() for line in tokenised(raw, lang)] == read(f"valid.{lang}")
        assert any(line != line.lower() for line in raw)
    assert not (TEXT / "train.raw.de").exists()


def test_case_can_be_kept(run):
    run(iwslt14.main, pack(official_layout()), "name=cased", "lowercase=false")
    run(iwslt14.main, pack(official_layout()))
    cased = Path("data/cased/text/train.en").read_text()
    assert cased != cased.lower() == (TEXT / "train.en").read_text()


def test_a_second_run_does_nothing_and_other_options_are_refused(run, contents):
    archive = pack(official_layout())
    run(iwslt14.main, archive)
    before = contents(Path("data"))
    code, said = run(iwslt14.main, archive)
    assert code == 0
    assert "already prepared" in said
    assert "DIFFERS" in said
    code, said = run(iwslt14.main, archive, "lowercase=false")
    assert code == 2
    assert "lowercase was True, now False" in said
    assert contents(Path("data")) == before


@pytest.mark.parametrize(
    ("member", "lines", "said"),
    [
        ("train.tags.de-en.de", None, "lacks de-en/train.tags.de-en.de; besides, it holds"),
        ("train.tags.de-en.en", ["a"], "train.tags.de-en has 180 lines of text in de, but 1 in en"),
        ("train.tags.de-en.en", ["<url>"], "180 lines of text in de, but 0 in en"),
        ("IWSLT14.TED.tst2010.de-en.en.xml", ['<seg id="1"> a </seg>'], "in de, but 1 in en"),
        ("IWSLT14.TED.tst2010.de-en.en.xml", ['<seg id="1"> a'], "tst2010.de-en.en.xml, line 1"),
        ("IWSLT14.TED.tst2010.de-en.en.xml", ["\udcff"], "line 1, byte 1: not valid UTF-8"),
    ],
)
@pytest.mark.check("B1")
def test_a_defective_archive_is_one_clear_line(run, member, lines, said):
    files = official_layout()
    del files[f"de-en/{member}"]
    if lines is not None:
        files[f"de-en/{member}"] = lines
    code, message = run(iwslt14.main, pack(files))
    assert code == 2
    assert said in message
    assert message.count("\n") == 1
    assert not TEXT.exists()


def test_what_is_no_archive_and_what_is_not_there(run):
    Path("x.tgz").write_text("<html>not found</html>")
    code, message = run(iwslt14.main, "archive=x.tgz")
    assert code == 2
    assert "x.tgz is no readable .tar or .tar.gz archive" in message
    code, message = run(iwslt14.main, "archive=y.tgz")
    assert code == 2
    assert "`archive` names y.tgz, which is not a file" in message
    code, message = run(iwslt14.main, "url=http://127.0.0.1:1/de-en.tgz")
    assert code == 2
    assert "is not an https address" in message


@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"needs {ARCHIVE} (set RELUFORMER_CORPORA)")
def test_the_real_test_sets_have_the_published_counts(run):
    code, said = run(iwslt14.main, f"archive={ARCHIVE}")
    assert code == 0
    assert "test pairs: 6,750, as published" in said
    assert "test tokens en: 131,141, as published" in said
