"""Downloads that go on where they stopped, and whose file appears only when it is whole.

While it runs, the bytes are in <file>.partial; its validator (the server's ETag or date), in
<file>.validator, makes sure that a resumed download goes on with the same version of the file.
Afterwards <file>.sha256 records the checksum, by which later calls recognise the file.
"""

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from output import file_digest
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from reluformer import __version__
from reluformer.console import console
from reluformer.errors import UserError

BLOCK = 1 << 16
ATTEMPTS = 4


class IncompleteError(Exception):
    """The transfer stopped before its end; what has come is kept."""


@dataclass(frozen=True)
class Download:
    """One file to fetch: `sha256` is checked if it is known, and more than `max_bytes` refused."""

    url: str
    file: Path
    max_bytes: int
    sha256: str | None = None
    allow_http: bool = False
    timeout_seconds: float = 60.0
    pause_seconds: float = 2.0  # before the second attempt; doubled for each further one

    @property
    def partial(self) -> Path:
        return self.file.with_name(self.file.name + ".partial")

    @property
    def validator(self) -> Path:
        return self.file.with_name(self.file.name + ".validator")

    @property
    def record(self) -> Path:
        return self.file.with_name(self.file.name + ".sha256")

    def fetch(self) -> Path:
        """Return the file, downloading what is missing of it.

        Raises UserError if the server can't be reached or refuses, if the file is too large, or if
        its checksum is wrong (it is then deleted).
        """
        if self.file.exists():
            self._check_existing()
            return self.file
        _check_scheme(self.url, self.allow_http)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(ATTEMPTS):
            try:
                self._transfer()
                break
            except urllib.error.HTTPError as error:
                reason = f"the server answered {error.code} {error.reason}"
                if error.code < 500:
                    raise UserError(f"can't download {self.url}: {reason}") from None
            except (OSError, HTTPException, IncompleteError) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt + 1 == ATTEMPTS:
                raise UserError(
                    f"can't download {self.url}: {reason}; {_size(self.partial):,} bytes are kept,"
                    " run the same command again to continue"
                ) from None
            time.sleep(self.pause_seconds * 2**attempt)
        self._finish()
        return self.file

    def _transfer(self) -> None:
        """Fetch what is missing of the partial file, all of it if the server can't resume."""
        with self._open(_size(self.partial)) as response:
            start = _resumed_at(response) if response.status == 206 else 0
            if start > _size(self.partial):
                raise IncompleteError(f"the server skipped to byte {start}")
            expected = _expected_size(response, start)
            self._check_size(expected or 0)
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            self.validator.write_text(tag, encoding="utf-8")
            received = self._receive(response, start, expected)
        if expected is not None and received < expected:
            raise IncompleteError(f"the connection ended after {received:,} of {expected:,} bytes")

    @contextmanager
    def _open(self, start: int) -> Iterator[HTTPResponse]:
        headers = {"User-Agent": f"reluformer/{__version__}", "Accept-Encoding": "identity"}
        tag = self.validator.read_text(encoding="utf-8") if self.validator.exists() else ""
        # Without a strong validator the rest could belong to another version: start afresh.
        if start and tag and not tag.startswith("W/"):
            headers |= {"Range": f"bytes={start}-", "If-Range": tag}
        opener = urllib.request.build_opener(Redirections(self.allow_http))
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = opener.open(request, timeout=self.timeout_seconds)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is as long as the whole, or longer
                self.partial.unlink(missing_ok=True)
                raise IncompleteError("the server can't continue the partial file") from None
            raise
        with response:
            yield response

    def _receive(self, response: HTTPResponse, start: int, expected: int | None) -> int:
        received = start
        with self.partial.open("r+b" if start else "wb") as file, _progress() as bar:
            file.truncate(start)
            file.seek(start)
            task = bar.add_task(f"downloading {self.file.name}", total=expected, completed=start)
            while block := response.read(BLOCK):
                received += len(block)
                self._check_size(received)
                file.write(block)
                bar.update(task, completed=received)
            file.flush()
            os.fsync(file.fileno())
        return received

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            self.partial.unlink(missing_ok=True)
            limit = f"more than the {self.max_bytes:,} bytes allowed"
            raise UserError(f"{self.url} holds {limit} (at least {size:,}); is it the right file?")
        free = shutil.disk_usage(self.file.parent).free + _size(self.partial)
        if size > free:
            raise UserError(f"{self.file.parent} has {free:,} bytes free, but {size:,} are needed")

    def _finish(self) -> None:
        digest = file_digest(self.partial)
        if self.sha256 is not None and digest != self.sha256:
            self.partial.unlink()
            wrong = f"the checksum of {self.url} is {digest}, but should be {self.sha256}"
            raise UserError(f"{wrong}; the download was deleted, try again or pass a local file")
        # The order as sha256sum writes it, so that `sha256sum -c` can check the file too.
        self.record.write_text(f"{digest}  {self.file.name}\n", encoding="utf-8")
        self.partial.replace(self.file)
        self.validator.unlink(missing_ok=True)

    def _check_existing(self) -> None:
        recorded = self.record.read_text(encoding="utf-8") if self.record.exists() else ""
        expected = self.sha256 or recorded.partition(" ")[0]
        if expected and (digest := file_digest(self.file)) != expected:
            wrong = f"the checksum of {self.file} is {digest}, but should be {expected}"
            raise UserError(f"{wrong}; delete the file to download it again")


class Redirections(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but not to a less safe scheme than was allowed."""

    def __init__(self, allow_http: bool) -> None:
        self.allow_http = allow_http

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, self.allow_http)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, allow_http: bool) -> None:
    if urlsplit(url).scheme not in (("https", "http") if allow_http else ("https",)):
        raise UserError(f"{url} is not an https address; downloads are made over https only")


def _resumed_at(response: HTTPResponse) -> int:
    """The first byte of a partial answer, from `Content-Range: bytes 100-199/200`."""
    unit, _, positions = response.headers.get("Content-Range", "").partition(" ")
    first = positions.partition("-")[0]
    if unit != "bytes" or not first.isdecimal():
        raise IncompleteError("the server's partial answer doesn't say where it starts")
    return int(first)


def _expected_size(response: HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _progress() -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
