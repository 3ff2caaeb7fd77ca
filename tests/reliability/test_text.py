"""Hostile and broken text against whole commands, from files and from standard input."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pairs
import pytest
from commands import Run, give
from reversal import write_reversal_text
from small_runs import write_run

from reluformer.cli import preprocess, train, translate
from reluformer.data.corpus import Corpus

Trials = Callable[[int, int], int]

WORDS = ["der", "hund", "läuft", "im", "haus", "und", "die", "katze", "schläft", "süß"]
SHORT = ["decode.max_len_a=0", "decode.max_len_b=5", "threads=1"]
PAIR = ["data=custom", "data.name=x", "data.source_lang=de", "data.target_lang=en"]
CORPUS = [*PAIR, "data.text=text", "data.binary=binary", "data.vocab_size=60"]
MINE = ["source=text/train.de", "target=text/train.en", "name=mine", "source_lang=de"]
MINE += ["target_lang=en", "valid_size=5", "test_size=5"]
# What may stand in a line, and must neither end it nor move another.
ODD = ["", " ", "\t", "\0", "a\0b", "\r", "a\rb", "\u2028", "\u2029x", "\u0085", "\x0b\x0c\x1c"]
ODD += [
    "\ufeff",
    "e" + "\u0301" * 3000,
    "\u202eabc\u202c",
    "\u200f\u05d0",
    "\u200b",
    "🙂\U000e0041",
]
ODD += ["<d", "<d" + " " * 5000 + "x", "<s> </s> <pad> <unk>", "▁ ▁", "\u2047", "%s ${x} [/b]"]


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 8))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on sentences."""
    return write_run(tmp_path_factory.mktemp("run"), sentences(200), 60, max_positions=64)


@pytest.fixture
def here(run: Run) -> Path:
    """The working folder of `run`, with text to preprocess."""
    write_texts(Path("text"), sentences(60))
    return Path.cwd()


def write_texts(folder: Path, lines: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for split in ("train", "valid", "test"):
        for lang in ("de", "en"):
            (folder / f"{split}.{lang}").write_bytes("".join(f"{x}\n" for x in lines).encode())


def files_in(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.check("B2")
@pytest.mark.timeout(3600)
def test_every_command_names_the_byte_that_is_no_utf8(
    run: Run, folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch, trials: Trials
) -> None:
    """Damages at random places; nothing is written."""
    rng, text = random.Random(0), here / "text/train.de"
    clean, before = text.read_bytes(), files_in(here)
    for _ in range(trials(2, 100)):
        data = bytearray(clean)
        data[rng.randrange(len(data))] = rng.choice([0xC0, 0xF5, 0xFF])
        with pytest.raises(UnicodeDecodeError) as found:
            data.decode()
        line = data.count(b"\n", 0, found.value.start) + 1
        byte = found.value.start - data.rfind(b"\n", 0, found.value.start)
        place = f"line {line}, byte {byte}: not valid UTF-8 (0x{data[found.value.start]:02x})"
        text.write_bytes(data)
        give(monkeypatch, bytes(data))
        where = [f"run={folder}", *SHORT]
        for said in (
            run(translate.main, "input=text/train.de", "output=out", *where).error(),
            run(preprocess.main, *CORPUS).error(),
            run(pairs.main, *MINE).error(),
        ):
            assert said.startswith(f"text/train.de, {place}")
        assert run(translate.main, *where).error().startswith(f"<stdin>, {place}")
        text.write_bytes(clean)
        assert files_in(here) == before


@pytest.mark.check("B2")
@pytest.mark.timeout(3600)
def test_odd_characters_move_no_line(
    run: Run, folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch, trials: Trials
) -> None:
    """From a file and from standard input, with and without a byte order mark and CRs."""
    rng = random.Random(0)
    where = [f"run={folder}", *SHORT]
    for _ in range(trials(1, 20)):
        lines = [x for i in range(10) for x in (odd(rng), f"{WORDS[i]} {WORDS[9 - i]}")]
        plain = [lines[i] for i in range(1, 20, 2)]
        end = rng.choice(["\n", "\r\n"])
        data = (rng.choice(["", "\ufeff"]) + "".join(line + end for line in lines)).encode()
        (here / "in.de").write_bytes(data)
        (here / "plain.de").write_text("\n".join(plain) + "\n", encoding="utf-8")
        for name in ("in", "plain"):
            assert run(translate.main, f"input={name}.de", f"output={name}.en", *where).code == 0
        give(monkeypatch, data)
        streamed = run(translate.main, *where)
        written = (here / "in.en").read_bytes().decode()
        assert (streamed.code, streamed.out) == (0, written)
        assert len(written.split("\n")) == 21
        assert (
            written.split("\n")[1:20:2] == (here / "plain.en").read_text("utf-8").split("\n")[:-1]
        )

        write_texts(here / "text", [*sentences(60), *lines])
        assert run(preprocess.main, *CORPUS, "overwrite=true", "data.vocab_size=90").code == 0
        valid = Corpus.open("binary").split("valid")
        assert len(valid) == 80
        known = Corpus.open("binary").source_vocabulary
        assert [known.decode(valid.source[i]) for i in range(61, 80, 2)] == plain
        assert [known.decode(valid.target[i]) for i in range(61, 80, 2)] == plain


def odd(rng: random.Random) -> str:
    """A line of a few odd things and words; a CR at its end would be part of its end."""
    parts = rng.choices(ODD, k=rng.randint(1, 3)) + rng.choices(WORDS, k=rng.randint(0, 2))
    rng.shuffle(parts)
    return "".join(parts).removesuffix("\r")


ENDLESS = {
    "tokens": "wort " * 100_000,
    "no space": "x" * 10_000_000,
    "short words": "ab " * 3_300_000,
    "spaces": " " * 10_000_000,
    "combining": "e" + "\u0301" * 5_000_000,
    "noise": "".join(random.Random(0).choices("abcdefghäöü,.'&-1", k=10_000_000)),
}
COMMANDS = {
    "preprocess": ["reluformer.cli.preprocess", *CORPUS],
    "translate": ["reluformer.cli.translate", "input=text/train.de", "output=out", *SHORT],
    "standard input": ["reluformer.cli.translate", "output=out", *SHORT],
    "pairs": [pairs.__file__, *MINE, "moses=true", "workers=1"],
}
# Preprocessing endless tokens is first: what ordinary runs of the tests measure.
MEASURED = [(name, kind) for kind in ("tokens", "no space") for name in COMMANDS]
MEASURED += [(name, kind) for kind in [*ENDLESS][2:] for name in ("preprocess", "translate")]

MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def measure(folder: Path, command: list[str]) -> tuple[float, float, str]:
    """Seconds of a core, megabytes at most, and what a command said in a process of its own."""
    script, *arguments = command
    start = ["-m", script] if script.startswith("reluformer.") else [script]
    with (folder / "text/train.de").open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, sys.executable, *start, *arguments],
            cwd=folder, stdin=stdin, capture_output=True, text=True, check=True,
        )  # fmt: skip
    status, seconds, megabytes = map(float, done.stdout.split())
    assert status == 0, done.stderr
    return seconds, megabytes, done.stderr


@pytest.mark.check("B4")
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="measures with getrusage")
def test_endless_lines_take_bounded_time_and_memory(
    folder: Path, tmp_path: Path, trials: Trials
) -> None:
    """A minute and 500 MB more than without; a warning, and the neighbours as if it were not."""
    lines = sentences(60)
    write_texts(tmp_path / "text", lines)
    where = {name: [f"run={folder}"] for name in ("translate", "standard input")}
    clean: dict[str, tuple[float, list[str]]] = {}
    for name, kind in MEASURED[: trials(1, len(MEASURED))]:
        command = [*COMMANDS[name], *where.get(name, [])]
        if name not in clean:
            write_texts(tmp_path / "text", lines)
            _, megabytes, _ = measure(tmp_path, command)
            clean[name] = megabytes, results(tmp_path, name)
        write_texts(tmp_path / "text", [*lines[:30], ENDLESS[kind], *lines[30:]])
        seconds, megabytes, said = measure(tmp_path, command)
        assert seconds < 60, (name, kind)
        assert megabytes - clean[name][0] < 500, (name, kind)
        if name == "preprocess":
            assert "text/train.de, line 31 has" in said
            assert "and is cut after 100,000" in said
        elif name != "pairs" and kind != "spaces":
            assert "line 31 has far more than 63 pieces" in said
            assert "only its beginning, 63 pieces, is translated" in said
        found = results(tmp_path, name)
        assert found == clean[name][1] or [*found[:30], *found[31:]] == clean[name][1]


def results(folder: Path, name: str) -> list[str]:
    """Line by line, and out of the way of the next command."""
    if name == "preprocess":
        corpus = Corpus.open(folder / "binary")
        split, vocabulary = corpus.split("valid"), corpus.source_vocabulary
        found = [vocabulary.decode(split.source[i]) for i in range(len(split))]
        shutil.rmtree(folder / "binary")
        return found
    if name == "pairs":
        shutil.rmtree(folder / "data")
        return []
    found = (folder / "out").read_text("utf-8").split("\n")[:-1]
    (folder / "out").unlink()
    return found


REVERSAL = ["data=custom", "data.name=reversal", "data.source_lang=aa", "data.target_lang=bb"]
TINY = ["model.encoder_layers=1", "model.decoder_layers=1", "model.d_model=16", "model.ffn_dim=16"]
TINY += ["train.max_updates=2", "train.max_tokens=256", "train.valid_sentences=5", "threads=1"]


@pytest.mark.check("B5")
@pytest.mark.timeout(3600)
def test_training_names_the_damaged_file_and_goes_on_once_it_is_whole(
    run: Run, reversal_folder: Path, trials: Trials
) -> None:
    shutil.copytree(reversal_folder, "binary")
    settings = [*REVERSAL, "data.vocab_size=20", "data.binary=binary", *TINY, "run=mine"]
    files = list(damageable(Path("binary")))
    rng = random.Random(0)
    for trial in range(trials(2, 20)):
        path = files[trial % len(files)]
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt if trial % 4 else whole[: rng.randrange(len(whole))])
        stopped = run(train.main, *settings)
        assert stopped.code == 2
        said = stopped.err.splitlines()[-1]  # some is read only when training has begun
        assert said.startswith("error: ")
        assert path.name in said
        path.write_bytes(whole)
    done = run(train.main, *settings)
    assert done.code == 0, done.err


def damageable(folder: Path) -> Iterator[Path]:
    """What training reads of a corpus."""
    for split in ("train", "valid"):
        yield from sorted(folder.glob(f"{split}.*.*"))
    yield folder / "vocabulary.model"


@pytest.mark.check("B3")
@pytest.mark.parametrize("blank", [slice(0, None, 7), slice(None)])
def test_training_bears_blank_lines(run: Run, blank: slice) -> None:
    """Blank in every split, on one side or both; or the whole validation set."""
    write_reversal_text(Path("text"), {"train": 200, "valid": 21, "test": 21})
    for name in ("train.aa", "valid.aa", "valid.bb", "test.bb"):
        path = Path("text", name)
        lines = path.read_text().split("\n")[:-1]
        part = slice(0, None, 7) if name.startswith("train") else blank
        lines[part] = [""] * len(lines[part])
        path.write_text("\n".join(lines) + "\n")
    settings = [*REVERSAL, "data.text=text", "data.binary=binary", "data.vocab_size=20"]
    assert run(preprocess.main, *settings).code == 0
    done = run(train.main, *settings, *TINY, "run=mine")
    assert done.code == 0, done.err
