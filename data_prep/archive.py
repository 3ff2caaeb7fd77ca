"""Reading a tar archive that nobody vouches for.

Nothing is extracted by the names or the kinds that the archive gives: members on the caller's list
are read as streams and written under the caller's names. So `..`, absolute names, links and devices
have no effect, and caps on the unpacked bytes bound what a compression bomb can do.
"""

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reluformer.errors import UserError

BLOCK = 1 << 20
# What tarfile raises for damaged headers is wider than its own error; a chain of long-name headers
# ends in a RecursionError.
DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError)


def extract_members(archive: Path, members: Mapping[str, Path], max_bytes: int) -> None:
    """Write the members (name in the archive -> file to write) of a .tar or .tar.gz.

    Raises UserError as `extract_chosen` does, and if a member is missing.
    """
    others: list[str] = []

    def choose(name: str) -> Path | None:
        if name not in members:
            others.append(name[:80])
        return members.get(name)

    written = extract_chosen(archive, choose, max_bytes)
    missing = [name for name, file in members.items() if file not in written]
    if missing:
        holds = ", ".join(sorted(others)[:8]) or "nothing else"
        raise UserError(f"{archive} lacks {', '.join(missing)}; besides, it holds {holds}")


def extract_chosen(
    archive: Path, choose: Callable[[str], Path | None], max_bytes: int
) -> set[Path]:
    """Write the members that `choose` names a file for, given their names; return these files.

    `choose` must only name files that its caller means to write, whatever name it is given. Raises
    UserError if the archive is no .tar or .tar.gz or damaged, a member is doubled or no plain file,
    or the archive holds more than `max_bytes` unpacked; files may then be left under `.partial`
    names, but none under its own name is incomplete.
    """
    written: set[Path] = set()
    try:
        with _opened(archive, max_bytes) as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                file = choose(name)
                if file is None:
                    continue
                if file in written:
                    raise UserError(f"{archive} holds {name} twice; which is meant can't be told")
                _write_member(archive, tar, entry, file)
                written.add(file)
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{archive} is no readable .tar or .tar.gz archive ({reason}); fetch it again"
        ) from None
    return written


def _write_member(archive: Path, tar: tarfile.TarFile, entry: tarfile.TarInfo, file: Path) -> None:
    stream = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
    if stream is None:
        raise UserError(f"{archive}: {entry.name} is no plain file (a link, a device or a folder)")
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as output:
        shutil.copyfileobj(stream, output, BLOCK)
    if partial.stat().st_size != entry.size:
        raise tarfile.ReadError(f"{entry.name} is cut off")
    partial.replace(file)


@contextmanager
def _opened(archive: Path, max_bytes: int) -> Iterator[tarfile.TarFile]:
    """The archive as a stream, so that it is read once, from start to end, and never seeks."""
    with archive.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        unpacked: BinaryIO = gzip.GzipFile(fileobj=file) if gzipped else file  # type: ignore[assignment]
        capped = io.BufferedReader(_Capped(archive, unpacked, max_bytes))
        with tarfile.open(fileobj=capped, mode="r|") as tar:
            yield tar
            # To the end, for the checksum that gzip has there.
            while capped.read(BLOCK):
                pass


class _Capped(io.RawIOBase):
    """Reads from a stream until more than `max_bytes` have come."""

    def __init__(self, archive: Path, stream: BinaryIO, max_bytes: int) -> None:
        self.archive = archive
        self.stream = stream
        self.max_bytes = max_bytes
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self.stream.read(len(buffer))
        buffer[: len(block)] = block
        self.taken += len(block)
        if self.taken > self.max_bytes:
            limit = f"more than the {self.max_bytes:,} bytes allowed"
            raise UserError(f"{self.archive} unpacks to {limit}; is it the right file?")
        return len(block)
