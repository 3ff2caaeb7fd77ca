"""What commands take from their surroundings, and what of those they write down."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reversal import COMMAND_SETTINGS

CHECKOUT = Path(__file__).resolve().parents[2]

# Every attempt to reach another machine ends the process with an error.
OFFLINE = """
import json, os, pkgutil, sys
from importlib import import_module

def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo",
                 "socket.gethostbyname", "urllib.Request", "http.client.connect"):
        print("network:", event, arguments, file=sys.stderr, flush=True)
        os._exit(99)

sys.addaudithook(watch)

import reluformer

for line in sys.stdin:
    name, *sys.argv[1:] = json.loads(line)
    if name == "import":
        modules = pkgutil.walk_packages(reluformer.__path__, "reluformer.")
        for name in [one.name for one in modules if ".kernels.triton" not in one.name]:
            import_module(name)
    else:
        import_module(f"reluformer.cli.{name}").main()
print("done")
"""
SECRET = "canary-of-the-test"


@pytest.fixture(scope="module")
def offline(
    reversal_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Training, translation and scores, without a network and with secrets about.

    With --all-trials also averaging and analysing, and every module is imported.
    """
    folder = tmp_path_factory.mktemp("offline")
    text = reversal_folder.parent / "text"
    small = ["train.max_updates=2", "train.valid_interval=2", "train.save_interval=1"]
    small += ["train.valid_sentences=1"]
    commands = [
        ["train", *COMMAND_SETTINGS, f"data.binary={reversal_folder}", *small, "run=run"],
        ["translate", "run=run", f"input={text}/test.aa", "output=out.bb"],
        [
            "score",
            "hypothesis=out.bb",
            f"reference={text}/test.bb",
            "lang=en",
            "output=scores.json",
        ],
    ]
    more = [["import"], ["average", "run=run", "last=2"], ["analyze", "run=run", "sentences=2"]]
    commands += more if request.config.getoption("--all-trials") else []
    secrets = dict.fromkeys(("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"), SECRET)
    environment = {**os.environ, **secrets, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    used = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        input="".join(json.dumps(command) + "\n" for command in commands),
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    return folder, used


@pytest.mark.check("C7")
def test_no_command_needs_a_network(
    offline: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, used = offline
    assert used.returncode == 0, used.stderr[-2_000:]
    assert used.stdout.endswith("done\n")
    assert (folder / "scores.json").is_file()


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import socket; socket.gethostbyname('example.org')",
    ],
)
def test_a_network_would_be_noticed(code: str) -> None:
    watch = OFFLINE.partition("\nimport reluformer")[0]
    used = subprocess.run([sys.executable, "-c", f"{watch}\n{code}"], capture_output=True)
    assert used.returncode == 99


RECORDED = {
    "reluformer",
    "commit",
    "uncommitted_changes",
    "vocabularies",
    "python",
    "torch",
    "processor",
}
RECORDED |= {"accelerator", "corpus", "length_ratio", "longest_sentence"}


@pytest.mark.check("C8")
def test_no_secret_is_recorded(
    offline: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Of the surroundings only what is listed, and no variable of the environment."""
    folder, used = offline
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    assert SECRET not in used.stdout + used.stderr
    assert set(json.loads((folder / "run/environment.json").read_text())) == RECORDED
