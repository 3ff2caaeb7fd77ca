"""Running commands as their entry points do, in this process, and what came of it."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Main = Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """A command's exit code and what it said."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of a run that ended because of its input or settings."""
        assert self.code == 2, self
        lines = self.err.removesuffix("\n").split("\n")
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run(main, *arguments) in an empty working folder, `tmp_path`/here."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run_main(main: Main, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["reluformer", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run_main


def give(monkeypatch: pytest.MonkeyPatch, text: str | bytes, terminal: bool = False) -> None:
    """Put a text on standard input."""
    data = text.encode() if isinstance(text, str) else text
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", stream)
