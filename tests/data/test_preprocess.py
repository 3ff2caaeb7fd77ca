import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from filelock import FileLock

from reluformer.data import encoding
from reluformer.data.assembly import Assembly, Texts, VocabularyOptions
from reluformer.data.corpus import Corpus, Manifest
from reluformer.data.encoding import Limits
from reluformer.data.preprocess import LOCK, find_texts, prepare_corpus
from reluformer.errors import UserError

OPTIONS = VocabularyOptions(size=60)
LIMITS = Limits(max_length=40)
DATA = {"name": "x", "text": "somewhere", "vocab_size": 60}
WORDS = {
    "de": ["das", "Haus", "steht", "Straße", "läuft", "schön", "12", "."],
    "en": ["the", "house", "stands", "street", "runs", "nice", "12", "."],
}


def write_texts(folder: Path, lines: dict[str, int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for split, count in lines.items():
        rows = [rng.choices(range(8), k=rng.randint(1, 9)) for _ in range(count)]
        for lang, words in WORDS.items():
            text = "".join(" ".join(words[i] for i in row) + "\n" for row in rows)
            (folder / f"{split}.{lang}").write_text(text, "utf-8", newline="\n")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    folder = write_texts(tmp_path / "text", {"train": 300, "valid": 20, "test": 10})
    return find_texts(folder, "de", "en")


def prepare(texts: Texts, folder: Path, **changes) -> Manifest:
    arguments = {"data": DATA, "vocabulary": OPTIONS, "limits": LIMITS, "workers": 1} | changes
    return prepare_corpus(texts, folder, **arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def test_a_corpus_gives_back_its_text(texts: Texts, tmp_path: Path) -> None:
    manifest = prepare(texts, tmp_path / "binary")
    corpus = Corpus.open(tmp_path / "binary")
    corpus.verify()
    assert corpus.manifest == manifest
    assert len(corpus.source_vocabulary) == 60
    assert corpus.source_vocabulary.digest == corpus.target_vocabulary.digest
    for name, paths in texts.items():
        split = corpus.split(name)
        for tokens, path in ((split.source, paths["source"]), (split.target, paths["target"])):
            lines = path.read_text("utf-8").split("\n")[:-1]
            assert [corpus.source_vocabulary.decode(tokens[i]) for i in range(len(split))] == lines
    assert sorted(contents(tmp_path / "binary")) == [
        "manifest.json",
        *sorted(
            f"{split}.{side}.{kind}"
            for split in texts
            for side in ("source", "target")
            for kind in ("bin", "idx")
        ),
        "vocabulary.model",
    ]


def test_separate_vocabularies_know_their_own_language_only(texts: Texts, tmp_path: Path) -> None:
    prepare(texts, tmp_path / "binary", vocabulary=replace(OPTIONS, size=40, joint=False))
    corpus = Corpus.open(tmp_path / "binary")
    assert corpus.source_vocabulary.digest != corpus.target_vocabulary.digest
    assert corpus.manifest.splits["train"]["source"]["unknown"] == 0
    assert 3 in corpus.target_vocabulary.encode("Straße")


@pytest.mark.parametrize("joint", [True, False])
def test_vocabularies_can_be_taken_instead_of_learnt(
    joint: bool, texts: Texts, tmp_path: Path
) -> None:
    options = replace(OPTIONS, joint=joint)
    prepare(texts, tmp_path / "learnt", vocabulary=options)
    theirs = Corpus.open(tmp_path / "learnt")
    taken = {"source": theirs.source_vocabulary, "target": theirs.target_vocabulary}
    shorter = {**texts, "train": texts["valid"]}
    given = {"vocabulary": options, "taken": taken}
    prepare(shorter, tmp_path / "taken", **given)
    ours = Corpus.open(tmp_path / "taken")
    ours.verify()
    assert ours.source_vocabulary.digest == theirs.source_vocabulary.digest
    assert ours.target_vocabulary.digest == theirs.target_vocabulary.digest
    before = contents(tmp_path / "taken")
    prepare(shorter, tmp_path / "taken", **given)
    assert contents(tmp_path / "taken") == before

    prepare(shorter, tmp_path / "other", vocabulary=replace(options, size=50))
    other = Corpus.open(tmp_path / "other").source_vocabulary
    with pytest.raises(UserError, match="the vocabulary has changed"):
        prepare(shorter, tmp_path / "taken", vocabulary=options, taken=dict.fromkeys(taken, other))


@pytest.mark.check("B2")
@pytest.mark.check("B3")
def test_odd_lines_keep_valid_and_test_aligned(texts: Texts, tmp_path: Path) -> None:
    odd = ["", "a\u2028b", "\0", "c\rd", "\u0085", "Haus the " * 20_000]
    for paths in texts.values():
        for path in paths.values():
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write("".join(f"{line}\n" for line in odd))
    manifest = prepare(texts, tmp_path / "binary")
    assert {name: split["lines"] for name, split in manifest.splits.items()} == {
        "train": 306,
        "valid": 26,
        "test": 16,
    }
    assert manifest.splits["valid"]["sentences"] == 26
    assert manifest.splits["test"]["sentences"] == 16
    assert manifest.splits["train"]["sentences"] == 306 - 1 - 1  # the empty and the endless line
    assert manifest.splits["test"]["cut"] == 2


def test_the_same_text_and_settings_give_the_same_bytes(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, and in others as they encode large texts."""
    monkeypatch.setattr(encoding, "CHUNK_LINES", 70)
    prepare(texts, tmp_path / "a", workers=1)
    monkeypatch.setattr(encoding, "PARALLEL_LINES", 100)
    prepare(texts, tmp_path / "b", workers=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_finished_corpus_is_left_alone(texts: Texts, tmp_path: Path, capsys) -> None:
    first = prepare(texts, tmp_path / "binary")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "binary").iterdir()}
    again = prepare(texts, tmp_path / "binary", data=DATA | {"text": "moved"})
    assert again == first
    assert "nothing to do" in capsys.readouterr().err
    for path, before in times.items():
        assert path.name == LOCK or path.stat().st_mtime_ns == before


def test_another_corpus_is_refused_or_replaced_whole(texts: Texts, tmp_path: Path) -> None:
    folder = tmp_path / "binary"
    prepare(texts, folder)
    before = contents(folder)
    with pytest.raises(UserError, match=r"`vocab_size` is 60 there and 50 here\); overwrite=true"):
        prepare(texts, folder, data=DATA | {"vocab_size": 50})
    with pytest.raises(UserError, match="the test text has changed"):
        prepare({name: texts[name] for name in ("train", "valid")}, folder)
    with texts["valid"]["source"].open("a") as source, texts["valid"]["target"].open("a") as target:
        source.write("neu\n")
        target.write("new\n")
    with pytest.raises(UserError, match="the valid text has changed"):
        prepare(texts, folder)
    assert contents(folder) == before

    shorter = {name: texts[name] for name in ("train", "valid")}
    separate = replace(OPTIONS, size=40, joint=False)
    prepare(shorter, folder, vocabulary=separate, overwrite=True)
    prepare(shorter, tmp_path / "fresh", vocabulary=separate)
    assert contents(folder) == contents(tmp_path / "fresh")


@pytest.mark.check("B1")
@pytest.mark.check("B2")
@pytest.mark.check("B3")
def test_what_cannot_be_done_destroys_nothing(texts: Texts, tmp_path: Path) -> None:
    folder = tmp_path / "binary"
    prepare(texts, folder)
    before = contents(folder)
    with pytest.raises(UserError, match=r"`vocab_size` is 90,000, but .* set it to \d+ or less"):
        prepare(texts, folder, vocabulary=VocabularyOptions(size=90_000), overwrite=True)
    with texts["test"]["target"].open("ab") as file:
        file.write(b"one more\n")
    with pytest.raises(
        UserError, match=r"test\.de has 10 lines, but .*test\.en has 11; .* line 11"
    ):
        prepare(texts, folder, overwrite=True)
    texts["test"]["target"].write_bytes(b"fine\nb\xe4d\n")
    with pytest.raises(UserError, match=r"test\.en, line 2, byte 2: not valid UTF-8 \(0xe4\)"):
        prepare(texts, folder, overwrite=True)
    for path in texts["test"].values():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"test\.de and .*test\.en are empty"):
        prepare(texts, folder, overwrite=True)
    assert contents(folder) == before


def test_missing_texts_are_named(tmp_path: Path) -> None:
    folder = write_texts(tmp_path, {"train": 5})
    with pytest.raises(UserError, match=r"valid\.de does not exist"):
        find_texts(folder, "de", "en")
    write_texts(folder, {"valid": 5})
    assert list(find_texts(folder, "de", "en")) == ["train", "valid"]
    (folder / "test.en").write_text("alone\n")
    with pytest.raises(UserError, match=r"test\.de does not exist"):
        find_texts(folder, "de", "en")


def test_nothing_left_to_train_on_is_an_error(texts: Texts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is left to train on"):
        prepare(texts, tmp_path / "binary", limits=Limits(max_length=40, max_ratio=0.5))
    with pytest.raises(UserError, match="no finished corpus"):
        Corpus.open(tmp_path / "binary")


def test_one_process_at_a_time(texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "binary").mkdir()
    with (
        FileLock(tmp_path / "binary" / LOCK),
        pytest.raises(UserError, match="another process is preparing"),
    ):
        prepare(texts, tmp_path / "binary")


class Killed(BaseException):
    """Stands for whatever ends a process; no handler of ours may swallow it."""


@pytest.mark.check("B7")
def test_stopped_anywhere_the_next_run_gives_the_same_bytes(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync and rename fail at call k, for every k, until a run gets through unharmed."""
    prepare(texts, tmp_path / "reference")
    reference = contents(tmp_path / "reference")
    calls_left = 0

    def failing(function):
        def call(*arguments, **options):
            nonlocal calls_left
            calls_left -= 1
            if calls_left == 0:
                raise Killed
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", failing(lambda descriptor: None))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    for k in range(1, 200):
        folder, calls_left = tmp_path / str(k), k
        with suppress(Killed):
            prepare(texts, folder)
        unharmed = calls_left > 0
        calls_left = 0
        with suppress(UserError):
            Corpus.open(folder).verify()
            assert contents(folder).items() >= reference.items()
        prepare(texts, folder)
        assert contents(folder) == reference
        if unharmed:
            break
    assert unharmed
    assert k > 30


KILLED_PROCESS = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_preprocess import find_texts, prepare
left = int(sys.argv[2])
fsync = os.fsync
def deadly(descriptor):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    fsync(descriptor)
os.fsync = deadly
folder = Path(sys.argv[1])
prepare(find_texts(folder / "text", "de", "en"), folder / "killed")
"""


@pytest.mark.check("B7")
@pytest.mark.parametrize("k", [2, 6, 9, 13])
def test_a_killed_process_is_continued(texts: Texts, tmp_path: Path, k: int) -> None:
    """As above, but with no chance to clean up; finished parts are not made again."""
    script = KILLED_PROCESS.format(tests=str(Path(__file__).parent))
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(k)], check=False)
    assert ended.returncode == 9
    folder = tmp_path / "killed"
    with pytest.raises(UserError, match="no finished corpus"):
        Corpus.open(folder)
    recorded = folder / "unfinished.json"
    done = json.loads(recorded.read_bytes())["splits"] if recorded.exists() else {}
    times = {name: (folder / f"{name}.source.bin").stat().st_mtime_ns for name in done}
    prepare(texts, folder)
    assert all((folder / f"{n}.source.bin").stat().st_mtime_ns == t for n, t in times.items())
    prepare(texts, tmp_path / "reference")
    assert contents(folder) == contents(tmp_path / "reference")


@pytest.mark.check("B7")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts from a copy of this process")
@pytest.mark.timeout(3600)
def test_killed_at_any_moment_the_next_run_gives_the_same_bytes(tmp_path: Path, trials) -> None:
    """SIGKILL; what is there by then is no corpus, or the whole one."""
    rng = random.Random(0)
    text = write_texts(tmp_path / "text", {"train": 1500, "valid": 300, "test": 300})
    texts = find_texts(text, "de", "en")
    started = time.monotonic()
    start(texts, tmp_path / "reference").join()
    seconds = time.monotonic() - started
    reference = contents(tmp_path / "reference")
    killed = 0
    for trial in range(trials(2, 30)):
        folder = tmp_path / str(trial)
        process = start(texts, folder)
        process.join(rng.uniform(0, seconds))
        killed += process.is_alive()
        process.kill()
        process.join()
        with suppress(UserError):
            Corpus.open(folder).verify()
            assert contents(folder).items() >= reference.items()
        prepare(texts, folder)
        assert contents(folder) == reference
    assert killed >= trial // 2


def start(texts: Texts, folder: Path) -> BaseProcess:
    process = get_context("fork").Process(target=prepare, args=(texts, folder))
    process.start()
    return process


@pytest.mark.check("B3")
@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ("\na\nb\n", "a\na\nb\n", 2),
        ("a\n\nb\n", "a\n  \nb\n", 2),
        ("a\nb\n\n", "a\nb\n\n", 2),
        ("a\nb\n ", "a\nb\nb", 2),
        ("a\nb\na", "a\r\nb\r\nb", 3),
    ],
)
def test_blank_and_unfinished_lines(source: str, target: str, pairs: int, tmp_path: Path) -> None:
    """Training goes without pairs that are blank on a side; the other splits keep every line."""
    for split in ("train", "valid", "test"):
        for side, lines in (("de", source), ("en", target)):
            (tmp_path / f"{split}.{side}").write_text(lines, newline="")
    texts = find_texts(tmp_path, "de", "en")
    manifest = prepare(texts, tmp_path / "binary", vocabulary=VocabularyOptions(size=7))
    found = {name: split["sentences"] for name, split in manifest.splits.items()}
    assert found == {"train": pairs, "valid": 3, "test": 3}
    assert manifest.splits["train"]["empty"] == 3 - pairs


@pytest.mark.check("B3")
def test_a_held_out_split_may_be_blank_but_not_empty(texts: Texts, tmp_path: Path) -> None:
    for path in texts["test"].values():
        path.write_text("\n \n")
    assert prepare(texts, tmp_path / "binary").splits["test"]["sentences"] == 2
    for path in texts["test"].values():
        path.write_text("")
    with pytest.raises(UserError, match=r"test\.de and .*test\.en are empty"):
        prepare(texts, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.check("B7")
def test_a_damaged_record_of_what_is_done_is_not_believed(
    texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run stopped after its first split, one byte of whose record has changed since."""
    prepare(texts, tmp_path / "reference")
    folder, make = tmp_path / "binary", {"train": Assembly.make_split}
    with monkeypatch.context() as stopping:
        stopping.setattr(Assembly, "make_split", lambda *given: make[given[1]](*given))
        with pytest.raises(KeyError, match="valid"):
            prepare(texts, folder)
    record = folder / "unfinished.json"
    whole = record.read_text()
    assert '"sentences": 300' in whole
    record.write_text(whole.replace('"sentences": 300', '"sentences": 301'))
    prepare(texts, folder)
    assert contents(folder) == contents(tmp_path / "reference")


@pytest.mark.check("B7")
def test_parts_of_another_corpus_are_not_taken_over(texts: Texts, tmp_path: Path) -> None:
    folder = tmp_path / "binary"
    with pytest.raises(UserError, match="is left to train on"):
        prepare(texts, folder, limits=Limits(40, max_ratio=0.5), data=DATA | {"max_ratio": 0.5})
    assert (folder / "unfinished.json").exists()
    other = replace(OPTIONS, size=55)
    prepare(texts, folder, vocabulary=other, data=DATA | {"vocab_size": 55})
    prepare(texts, tmp_path / "fresh", vocabulary=other, data=DATA | {"vocab_size": 55})
    assert contents(folder) == contents(tmp_path / "fresh")
