"""README's own attention mechanism, made and used exactly as it is written there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    """The section's code blocks by language."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    section = readme.split("### Add your own attention", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    assert [language for language, _ in found] == ["python", "yaml", "bash"]
    return dict(found)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, blocks: dict[str, str]) -> Path:
    """A copy of the checkout with the section's two files in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("reluformer", "conf", "data_prep", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, folder / name, ignore=ignored)
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    for language in ("python", "yaml"):
        first, text = blocks[language].split("\n", 1)
        path = folder / first.removeprefix("# ")
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, command: str) -> str:
    """Run a shell command in the copied checkout; what it printed."""
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_30_lines(blocks: dict[str, str]) -> None:
    lines = (blocks["python"] + blocks["yaml"]).split("\n")
    assert sum(1 for line in lines if line.strip()) <= 30


def test_its_commands_run_as_written(checkout: Path, blocks: dict[str, str]) -> None:
    """Properties hold, the benchmark shows it, it trains (two updates of a small corpus)."""
    properties, bench, train = blocks["bash"].strip().split("\n")
    passed = int(re.search(r"(\d+) passed", run(checkout, properties)).group(1))
    assert passed >= 15
    assert "l1" in run(checkout, bench)
    few = "sentences=400 valid_sentences=20 test_sentences=20 documents=0"
    run(checkout, f"python data_prep/embedded.py {few}")
    small = "data=embedded data.vocab_size=300"
    run(checkout, f"reluformer-preprocess {small}")
    run(checkout, f"{train} data.vocab_size=300 train.max_updates=2 train.valid_sentences=5")
    assert (checkout / "runs/embedded/l1-seed1/summary.json").is_file()


def test_it_may_live_outside_the_package(tmp_path: Path, blocks: dict[str, str]) -> None:
    """The class in a module of one's own, the yaml in one's own folder."""
    (tmp_path / "my_module.py").write_text(blocks["python"], encoding="utf-8")
    (tmp_path / "mine/attention").mkdir(parents=True)
    yaml = blocks["yaml"].replace("reluformer.attention.l1", "my_module")
    (tmp_path / "mine/attention/l1.yaml").write_text(yaml, encoding="utf-8")
    bench = blocks["bash"].strip().split("\n")[1]
    options = "--config-dir mine allow=[my_module]"
    assert "l1" in run(tmp_path, f"{bench} {options}")
