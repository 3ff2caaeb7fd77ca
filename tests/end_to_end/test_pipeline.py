"""The whole main job, through the commands a user types: text in, a score out."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from reversal import write_reversal_text

pytestmark = pytest.mark.unchecked

DATA = [
    "data=custom",
    "data.name=reversal",
    "data.source_lang=aa",
    "data.target_lang=bb",
    "data.text=text",
    "data.binary=binary",
    "data.vocab_size=20",
]
SMALL = [
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.d_model=64",
    "model.ffn_dim=128",
    "model.dropout=0.0",
    "optim.learning_rate=3e-3",
    "optim.warmup_updates=100",
    "train.max_tokens=512",
    "train.log_interval=1",
    "train.statistics_interval=100",
    "train.valid_sentences=20",
    "threads=1",
]


def command(folder: Path, name: str, *arguments: str) -> None:
    """Run a command to its successful end in `folder`, in this process, as its entry point does."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        here.setattr(sys, "argv", [f"reluformer-{name}", *arguments])
        import_module(f"reluformer.cli.{name}").main()


def process_of(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Python with these arguments in `folder`, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def train_entries(run: Path, kind: str = "train") -> list[dict]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    return [entry for line in lines if line and (entry := json.loads(line))["kind"] == kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    write_reversal_text(folder / "text", {"train": 4000, "valid": 60, "test": 100})
    command(folder, "preprocess", *DATA)
    return folder


@pytest.mark.parametrize("kind", ["softmax", "relu", "relu_centered"])
def test_each_attention_learns_to_spell_backwards(folder: Path, kind: str) -> None:
    """One layer and 280 updates: half of the unseen test set, or nearly, comes out reversed."""
    updates = ["train.max_updates=280", "train.valid_interval=140", "train.save_interval=70"]
    command(folder, "train", *DATA, *SMALL, f"attention={kind}", *updates, f"run={kind}")
    command(folder, "average", f"run={kind}", "last=2")
    where = [f"run={kind}", "checkpoint=avg_2"]
    command(folder, "translate", *where, "input=text/test.aa", f"output={kind}.bb")
    scores = f"output={kind}.json"
    command(folder, "score", f"hypothesis={kind}.bb", "reference=text/test.bb", scores)
    hypotheses = (folder / f"{kind}.bb").read_text(encoding="utf-8").split("\n")
    references = (folder / "text/test.bb").read_text(encoding="utf-8").split("\n")
    right = sum(ours == theirs for ours, theirs in zip(hypotheses, references, strict=True))
    assert right >= 45, f"{right} of 100 lines right"
    assert (folder / f"{kind}.json").stat().st_size > 0


def test_documents_are_translated_line_for_line(folder: Path) -> None:
    """Sentences first, then windows; by memory, with recomputation: whatever the model has learned,
    marks stay in place and every line has a line."""
    for path in sorted((folder / "text").iterdir()):
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        marked = [line for i in range(0, len(lines), 5) for line in ("<d>", *lines[i : i + 5])]
        (folder / "documents").mkdir(exist_ok=True)
        (folder / "documents" / path.name).write_text("\n".join(marked) + "\n", encoding="utf-8")
    data = [*DATA, "data.text=documents", "data.binary=documents_binary", "data.documents=true"]
    command(folder, "preprocess", *data)
    windows = ["windows.length=64", "windows.sentence_updates=20"]
    lean = ["train.memory_aware=true", "train.recompute=true", "train.max_updates=40"]
    often = ["train.valid_interval=20", "train.save_interval=20", "train.valid_sentences=5"]
    options = ["attention=relu_centered", *windows, *lean]
    command(folder, "train", *data, *SMALL, *options, *often, "run=of_documents")
    where = ["run=of_documents", "input=documents/test.aa", "timing=timing.json", "threads=1"]
    command(folder, "translate", *where, "output=documents.bb", "documents.overlap=1")
    scores = ["timing=timing.json", "output=documents.json"]
    command(folder, "score", "hypothesis=documents.bb", "reference=documents/test.bb", *scores)
    (system,) = json.loads((folder / "documents.json").read_text())["systems"]
    assert system["documents"]["documents"] == 20
    assert system["windows"]["windows"] >= 20
    ours, theirs = (read(folder, name) for name in ("documents.bb", "documents/test.bb"))
    assert len(ours) == len(theirs)
    assert [line == "<d>" for line in ours] == [line == "<d>" for line in theirs]


def read(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").split("\n")


def test_analysis_of_a_trained_run(folder: Path) -> None:
    """Every attention layer, with the variance it adds by visible keys, and a picture."""
    command(folder, "train", *DATA, *SMALL, "train.max_updates=2", "run=looked_into")
    command(folder, "analyze", "run=looked_into", "sentences=20")
    written = folder / "looked_into" / "analysis" / "best"
    layers = json.loads((written / "analysis.json").read_text(encoding="utf-8"))
    sites = ["encoder_self_attention", "decoder_self_attention", "cross_attention"]
    assert [layer["site"] for layer in layers] == sites
    for layer in layers:
        assert 0 <= layer["statistics"]["sparsity"] <= 1
        assert layer["variance_ratio"] > 0
        assert all(ratio > 0 for ratio in layer["variance_ratio_by_n"].values())
    assert list(layers[1]["variance_ratio_by_n"]) == ["1", "2-3", "4-7", "8-15"]
    assert (written / "variance.png").stat().st_size > 0


@pytest.mark.check("A11")
def test_other_settings_do_not_continue_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*DATA, *SMALL, "train.max_updates=2", "run=fixed"]
    command(folder, "train", *settings)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command(folder, "train", *settings, "optim.learning_rate=1e-3")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "optim.learning_rate: 0.003 -> 0.001" in said
    assert said.count("\n") == 1
