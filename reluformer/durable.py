"""Files that appear whole or not at all, and survive a power cut once they have."""

import os
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place, whole and durable, or leave what was there."""
    with temporary(path).open("wb") as file:
        file.write(data)
        make_durable(file)
    put_in_place(path)


def put_in_place(path: Path) -> None:
    """Give what was written to `temporary(path)` its final name, durably."""
    temporary(path).replace(path)
    make_folder_durable(path.parent)


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
        os.fsync(descriptor)
        os.close(descriptor)
