"""Files that appear whole or not at all, and survive a power cut once they have."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from reluformer.errors import UserError

# Beside what is to be written: folders and the file system need some too.
SPARE_BYTES = 1 << 20


def require_space(folder: Path, needed: int) -> None:
    """Raise UserError before a write of so many bytes that the disk has no room for."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise UserError(
            f"{folder}: {needed + SPARE_BYTES:,} bytes are needed and {free:,} are free: make "
            "space; what was saved is whole, and the same command continues from there"
        )


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place, whole and durable, or leave what was there."""
    require_space(path.parent, len(data))
    temporary(path).unlink(missing_ok=True)  # if it is a link, to a file elsewhere
    with temporary(path).open("wb") as file:
        file.write(data)
        make_durable(file)
    put_in_place(path)


def write_json(path: Path, values: Any) -> None:
    """As `write_whole`, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def put_in_place(path: Path) -> None:
    """Give what was written to `temporary(path)` its final name, durably."""
    temporary(path).replace(path)
    make_folder_durable(path.parent)


def check_output(path: Path, inputs: Iterable[Path | str | None] = ()) -> None:
    """Raise UserError if `path` is one of the inputs, or is there and no regular file."""
    if path.is_symlink():
        raise UserError(f"`output` {path} is a link: name the file itself")
    for source in inputs:
        if source is not None and Path(source).resolve() == path.resolve():
            raise UserError(f"`output` and an input are the same file, {path}: name another output")
    if path.exists() and not path.is_file():
        raise UserError(
            f"`output` {path} is no regular file: name another, or leave it out for standard output"
        )


def temporary(path: Path) -> Path:
    """Where a file is written before it is put in its place."""
    return path.with_name(path.name + ".tmp")


def make_durable(file: BinaryIO) -> None:
    """Return only when the operating system has put what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def make_folder_durable(folder: Path) -> None:
    """Return only when renames in the folder are on the disk (where the system can do that)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
