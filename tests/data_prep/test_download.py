"""Downloads from a server on this machine that misbehaves as told."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest
from download import ATTEMPTS, Download, Redirections

from reluformer.errors import UserError

pytestmark = pytest.mark.check("C7")

DATA = os.urandom(500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Plan:
    """What the server does, and what it was asked for."""

    data: bytes = DATA
    etag: str | None = '"one"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes to send of each answer, then hang up
    failures: list[int] = field(default_factory=list)  # status codes to give first
    content_length: bool = True
    redirect_to: str | None = None
    skip: int = 0  # answer a range from so many bytes later
    asked: list[str | None] = field(default_factory=list)  # the Range of each request


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        plan = self.server.plan
        wanted = self.headers.get("Range")
        plan.asked.append(wanted)
        if plan.failures:
            self.send_error(plan.failures.pop(0))
            return
        if plan.redirect_to:
            self.send_response(302)
            self.send_header("Location", plan.redirect_to)
            self.end_headers()
            return
        start = 0
        if wanted and plan.ranges and self.headers.get("If-Range") == plan.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + plan.skip
            if start >= len(plan.data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(plan.data) - 1}/*")
        else:
            self.send_response(200)
        if plan.etag:
            self.send_header("ETag", plan.etag)
        body = plan.data[start:]
        if plan.content_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: plan.cut_after.pop(0)] if plan.cut_after else body)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    plan: Plan

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/de-en.tgz"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.plan = Plan()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def download(
    server: Server, folder: Path, sha256: str | None = None, max_bytes: int = 1_000_000
) -> Download:
    file = folder / "sub" / "de-en.tgz"
    return Download(
        server.url, file, max_bytes, sha256, allow_http=True, timeout_seconds=5, pause_seconds=0
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "sub").iterdir()}


def test_a_file_is_fetched_once_and_its_checksum_recorded(server, tmp_path):
    file = download(server, tmp_path, SHA256).fetch()
    assert file.read_bytes() == DATA
    assert names(tmp_path) == {"de-en.tgz", "de-en.tgz.sha256"}
    assert (tmp_path / "sub/de-en.tgz.sha256").read_text() == f"{SHA256}  de-en.tgz\n"
    assert download(server, tmp_path).fetch() == file
    assert len(server.plan.asked) == 1


def test_a_broken_connection_is_continued(server, tmp_path):
    server.plan.cut_after = [100_000, 250_000]
    assert download(server, tmp_path, SHA256).fetch().read_bytes() == DATA
    assert server.plan.asked == [None, "bytes=100000-", "bytes=350000-"]


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    server.plan.cut_after = [50_000] * ATTEMPTS
    with pytest.raises(UserError, match=r"200,000 bytes are kept, run the same command again"):
        download(server, tmp_path).fetch()
    assert not (tmp_path / "sub/de-en.tgz").exists()
    assert download(server, tmp_path).fetch().read_bytes() == DATA
    assert server.plan.asked[-1] == "bytes=200000-"


def test_a_server_that_ignores_ranges_sends_everything_again(server, tmp_path):
    server.plan.ranges = False
    server.plan.cut_after = [300_000]
    assert download(server, tmp_path, SHA256).fetch().read_bytes() == DATA
    assert server.plan.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_continued(server, tmp_path, etag):
    server.plan.etag = etag
    server.plan.cut_after = [300_000]
    assert download(server, tmp_path, SHA256).fetch().read_bytes() == DATA
    assert server.plan.asked == [None, None]


def test_a_file_that_changed_in_between_is_not_mixed(server, tmp_path):
    server.plan.cut_after = [50_000] * ATTEMPTS
    with pytest.raises(UserError):
        download(server, tmp_path).fetch()
    server.plan.data, server.plan.etag = os.urandom(400_000), '"two"'
    assert download(server, tmp_path).fetch().read_bytes() == server.plan.data


def test_a_partial_file_as_long_as_the_whole_is_no_trap(server, tmp_path):
    wanted = download(server, tmp_path, SHA256)
    wanted.partial.parent.mkdir()
    wanted.partial.write_bytes(bytes(len(DATA)))
    wanted.validator.write_text('"one"')
    assert wanted.fetch().read_bytes() == DATA


def test_an_answer_that_skips_bytes_is_not_glued_on(server, tmp_path):
    server.plan.cut_after = [100_000]
    server.plan.skip = 10
    with pytest.raises(UserError, match="the server skipped to byte 100010"):
        download(server, tmp_path).fetch()
    assert not (tmp_path / "sub/de-en.tgz").exists()


def test_a_wrong_checksum_deletes_the_download(server, tmp_path):
    with pytest.raises(UserError, match=f"is {SHA256}, but should be {'0' * 64}"):
        download(server, tmp_path, "0" * 64).fetch()
    assert not {"de-en.tgz", "de-en.tgz.partial"} & names(tmp_path)


def test_a_file_damaged_after_the_download_is_noticed(server, tmp_path):
    file = download(server, tmp_path).fetch()
    file.write_bytes(DATA[:-1])
    with pytest.raises(UserError, match="delete the file to download it again"):
        download(server, tmp_path).fetch()


@pytest.mark.parametrize("content_length", [True, False])
def test_a_file_above_the_cap_is_not_kept(server, tmp_path, content_length):
    server.plan.content_length = content_length
    with pytest.raises(UserError, match="more than the 400,000 bytes allowed"):
        download(server, tmp_path, max_bytes=400_000).fetch()
    assert not {"de-en.tgz", "de-en.tgz.partial"} & names(tmp_path)


def test_an_unknown_length_is_accepted(server, tmp_path):
    server.plan.content_length = False
    assert download(server, tmp_path, SHA256).fetch().read_bytes() == DATA


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.plan.failures = [503, 500]
    assert download(server, tmp_path).fetch().read_bytes() == DATA


def test_a_missing_file_is_an_error_at_once(server, tmp_path):
    server.plan.failures = [404]
    with pytest.raises(UserError, match=r"can't download .*: the server answered 404"):
        download(server, tmp_path).fetch()
    assert len(server.plan.asked) == 1


def test_a_server_that_is_not_there_is_an_error(tmp_path, server):
    server.server_close()
    with pytest.raises(UserError, match=r"can't download .*refused.*run the same command again"):
        download(server, tmp_path).fetch()


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://x/y", "x"])
def test_only_https_is_used(tmp_path, url):
    with pytest.raises(UserError, match="is not an https address"):
        Download(url, tmp_path / "x", 100).fetch()


@pytest.mark.parametrize("elsewhere", ["ftp://example.org/x", "file:///etc/hostname"])
def test_a_redirection_can_not_leave_the_web(server, tmp_path, elsewhere):
    server.plan.redirect_to = elsewhere
    with pytest.raises(UserError, match=f"{elsewhere}.* is not (an https address|allowed)"):
        download(server, tmp_path).fetch()


def test_a_redirection_can_not_leave_https():
    request = Request("https://example.org/x")
    with pytest.raises(UserError, match=r"http://example\.org/x is not an https address"):
        Redirections(allow_http=False).redirect_request(
            request, BytesIO(), 302, "Found", HTTPMessage(), "http://example.org/x"
        )


def test_an_interrupted_process_leaves_what_it_has(server, tmp_path, monkeypatch):
    wanted = download(server, tmp_path, SHA256)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            wanted.fetch()
    assert not wanted.file.exists()
    assert wanted.fetch().read_bytes() == DATA
