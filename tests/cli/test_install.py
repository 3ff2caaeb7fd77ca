"""The commands as users run them: installed from a wheel or not, from any folder, in a pipe."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

ENDLESS = """
import time
from dataclasses import dataclass
from reluformer.cli.app import command

@dataclass
class ScoreConfig:
    pass

@command("demo", ScoreConfig)
def main(config):
    while True:
        print("line " * 100)
main()
"""


def run_python(
    *arguments: str, site: Path, cwd: Path, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder with the package of another."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        **options,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution, as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("reluformer", "conf", "data_prep", "scripts"):
        shutil.copytree(
            CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(CHECKOUT / name, source)
    built = run_python(
        "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), site=folder, cwd=source
    )
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel's content, in a folder far from the checkout."""
    site = wheel.parent / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.mark.check("C8")
def test_the_wheel_holds_configuration_licence_and_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    yamls = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "conf").rglob("*.yaml")}
    assert {f"reluformer/{name}" for name in yamls} <= set(names)
    assert "reluformer/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"reluformer"}
    own = {name for name in names if name.startswith("reluformer/")}
    sources = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "reluformer").rglob("*.py")}
    assert own == sources | {f"reluformer/{name}" for name in yamls} | {"reluformer/py.typed"}


@pytest.mark.parametrize("place", ["wheel", "checkout"])
def test_a_command_finds_its_configuration_from_any_folder(
    place: str, installed: Path, tmp_path: Path
) -> None:
    site = installed if place == "wheel" else CHECKOUT
    conf = installed / "reluformer" / "conf" if place == "wheel" else CHECKOUT / "conf"
    module = ["-m", "reluformer.cli.score"]
    searched = run_python(*module, "--info", "searchpath", site=site, cwd=tmp_path)
    assert f"file://{conf}" in searched.stdout, searched.stderr
    shown = run_python(*module, "--cfg", "job", "reference=a b,c.txt", site=site, cwd=tmp_path)
    assert "a b,c.txt" in shown.stdout, shown.stderr
    missed = run_python(*module, "hypothesis=no.en", "reference=no.en", site=site, cwd=tmp_path)
    assert missed.returncode == 2
    assert missed.stderr.count("\n") == 1
    assert "no.en" in missed.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_command_of_the_wheel_shows_its_help(installed: Path, tmp_path: Path) -> None:
    lines = next(installed.glob("*.dist-info/entry_points.txt")).read_text("utf-8").split("\n")
    modules = [line.partition(" = ")[2].partition(":")[0] for line in lines if " = " in line]
    assert len(modules) >= 6
    script = "import importlib, sys\nsys.argv = ['x', '--help']\n" + "".join(
        f"importlib.import_module('{module}').main()\n" for module in modules
    )
    shown = run_python("-c", script, site=installed, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("Exit codes: 0 done") == len(modules)


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, reluformer\n"
        "print([name for name in ('hydra', 'triton', 'torch') if name in sys.modules])"
    )
    assert run_python("-c", script, site=CHECKOUT, cwd=CHECKOUT).stdout == "[]\n"


@pytest.fixture
def endless(tmp_path: Path) -> list[str]:
    """A command that prints until it is stopped."""
    (tmp_path / "endless.py").write_text(ENDLESS, encoding="utf-8")
    (tmp_path / "demo.yaml").write_text("defaults: [demo_schema]\n", encoding="utf-8")
    return [sys.executable, str(tmp_path / "endless.py"), "--config-dir", str(tmp_path)]


def test_a_reader_that_leaves_is_no_error(endless: list[str]) -> None:
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def heed_interruptions() -> None:
    """What a shell runs in the background, as these tests may be, ignores them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interruption_is_quiet(endless: list[str]) -> None:
    with subprocess.Popen(
        endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interruptions
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == 128 + signal.SIGINT
