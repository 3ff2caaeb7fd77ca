"""The folder that a recipe makes: it appears whole, says how it was made, and isn't overwritten.

A recipe works in a hidden staging folder beside its output, whose name is a digest of the options
and of the sources. Each file in it appears by renaming, so a file that is there is finished and an
interrupted recipe goes on where it was. At the end the staging folder becomes the output folder.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reluformer.console import console
from reluformer.errors import UserError

RECIPE_VERSION = 2  # raised when the recipes' output changes, so that older output isn't reused
REPORT = "prepare.json"

Report = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """data/<name>/text, made by a recipe from sources (role -> file or folder) with options."""

    name: str
    recipe: str
    options: Mapping[str, Any]
    sources: Mapping[str, Path]

    @property
    def folder(self) -> Path:
        return Path("data", self.name, "text")

    @cached_property
    def made_from(self) -> Report:
        """What the output depends on: recipe, options, and the sources' checksums."""
        digests = {role: source_digest(path) for role, path in self.sources.items()}
        options = dict(self.options)
        return {
            "recipe": self.recipe,
            "recipe_version": RECIPE_VERSION,
            "options": options,
            "source_sha256": digests,
        }

    def make(self, fill: Callable[[Path], Report], overwrite: bool) -> Report:
        """Have `fill` write the files into a folder and return its counts; return the report.

        Nothing is done if the output is there and was made from the same things. Raises UserError
        if the folder holds anything else and may not be overwritten, or while another process
        prepares it.
        """
        self._check_place()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.parent / ".prepare.lock", timeout=0)
        try:
            with lock:
                return self._make(fill, overwrite)
        except Timeout:
            holder = f"another process is preparing {self.folder}"
            raise UserError(f"{holder}; wait for it, or choose another `name`") from None

    def _check_place(self) -> None:
        """Raise UserError if the folder could not be replaced without harm."""
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise UserError(
                f"{self.folder} is no folder of its own but a link or a file: remove it "
                f"({self.folder.parent} may be a link, for text that is to lie elsewhere)"
            )
        for role, path in self.sources.items():
            if self.folder.resolve() in (path.resolve(), *path.resolve().parents):
                raise UserError(
                    f"`{role}` {path} lies in {self.folder}, which is what is made: move it, or "
                    "choose another `name`"
                )

    def _make(self, fill: Callable[[Path], Report], overwrite: bool) -> Report:
        report = read_report(self.folder)
        if report is not None and self._is_from(report) and not self._damaged(report):
            console.print(f"{self.folder} is already prepared: same options, same sources")
            return report
        if self.folder.exists() and not overwrite:
            difference = self._difference(report)
            raise UserError(
                f"{self.folder} {difference}; set overwrite=true to replace it and all in it"
            )
        staging = self._staging()
        try:
            counts = fill(staging)
        except UserError:
            shutil.rmtree(staging)  # whatever is mended makes other sources or options
            raise
        shutil.rmtree(staging / "work", ignore_errors=True)
        report = self.made_from | {
            "sources": {role: str(path) for role, path in self.sources.items()},
            "counts": counts,
            "files": {path.name: _describe(path) for path in sorted(staging.iterdir())},
        }
        (staging / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        self._publish(staging)
        return report

    def _staging(self) -> Path:
        """This work's staging folder; those of other options or sources are dropped."""
        key = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()
        staging = self.folder.with_name(f".text-{key[:16]}")
        for stale in self.folder.parent.glob(".text-*"):
            if stale != staging:
                shutil.rmtree(stale)
        staging.mkdir(exist_ok=True)
        return staging

    def _publish(self, staging: Path) -> None:
        if self.folder.exists():
            # Moved aside first, as a folder can't be renamed onto one that has files.
            replaced = self.folder.with_name(".text-replaced")
            self.folder.rename(replaced)
            staging.rename(self.folder)
            shutil.rmtree(replaced)
        else:
            staging.rename(self.folder)

    def _is_from(self, report: Report) -> bool:
        return self.made_from.items() <= report.items()

    def _damaged(self, report: Report) -> list[str]:
        """Files that are no longer as they were written."""
        return [
            name
            for name, written in report.get("files", {}).items()
            if not (self.folder / name).is_file() or _describe(self.folder / name) != written
        ]

    def _difference(self, report: Report | None) -> str:
        if report is None:
            return "exists, but was not made by this recipe"
        if self._is_from(report):
            return f"was changed after it was made ({', '.join(self._damaged(report))})"
        changed = [key for key in self.made_from if report.get(key) != self.made_from[key]]
        old, new = report.get("options", {}), self.made_from["options"]
        settings = [
            f"{key} was {old.get(key)}, now {new.get(key)}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        changed = [key for key in changed if key != "options"] + settings
        return f"was made differently ({', '.join(changed)})"


def check_name(setting: str, value: str) -> None:
    """Refuse what would not be a plain part of a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        rule = "must be 1 to 100 of A-Z, a-z, 0-9, dot, - and _, and start with a letter or digit"
        raise UserError(f"`{setting}` {rule}, but is {value!r}")


def check_least(config: Any, least: int, *settings: str) -> None:
    """Refuse a number below the least; None, which switches a setting off, is let through."""
    for setting in settings:
        value = getattr(config, setting)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"`{setting}` must be at least {least}, but is {value}")


def read_report(folder: Path) -> Report | None:
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    well_formed = isinstance(report, dict) and isinstance(report.get("options", {}), dict)
    return report if well_formed else None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def source_digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's text files."""
    if not path.is_dir():
        return file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(path.glob("*.txt")):
        digest.update(f"{file.name}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def _describe(path: Path) -> Report:
    lines = 0
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
    return {"lines": lines, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
