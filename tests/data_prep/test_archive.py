"""Hostile and damaged archives: only the files asked for appear, and every error is the user's."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from archive import extract_chosen, extract_members
from checks import Trials
from hypothesis import example, given, settings
from hypothesis import strategies as st
from limits import cheap

from reluformer.errors import UserError

pytestmark = pytest.mark.check("C3")

CAP = 10_000_000
Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


def pack(path: Path, entries: list[Entry], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to extract to, inside an otherwise empty one in which escapes would show."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    return tmp_path / "outer" / "inner"


def extract(archive: Path, folder: Path, *names: str, cap: int = CAP) -> set[str]:
    """Extract members under numbers for names; return every file that this has made."""
    members = {name: folder / str(number) for number, name in enumerate(names)}
    extract_members(archive, members, cap)
    return {str(path.relative_to(folder)) for path in folder.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_members_are_written_under_the_callers_names(tmp_path, folder, mode):
    data = os.urandom(300_000)
    entries = [entry("d/", kind=tarfile.DIRTYPE), entry("d/a", data), entry("./d/b", b"bb")]
    archive = pack(tmp_path / "x.tar", entries, mode)
    assert extract(archive, folder, "d/a", "d/b") == {"0", "1"}
    assert (folder / "0").read_bytes() == data
    assert (folder / "1").read_bytes() == b"bb"


def test_names_and_kinds_in_the_archive_have_no_effect(tmp_path, folder):
    outside = tmp_path / "outside"
    entries = [
        entry("../escaped", b"x"),
        entry(str(outside), b"x"),
        entry("d/../../escaped", b"x"),
        entry("soft", kind=tarfile.SYMTYPE, link=str(tmp_path)),
        entry("soft/escaped", b"x"),
        entry("hard", kind=tarfile.LNKTYPE, link="/etc/hostname"),
        entry("null", kind=tarfile.CHRTYPE),
        entry("pipe", kind=tarfile.FIFOTYPE),
        entry("0", kind=tarfile.SYMTYPE, link=str(outside)),  # the name that is written to below
        entry("A", b"another case"),
        entry("a", b"wanted"),
    ]
    assert extract(pack(tmp_path / "x.tgz", entries), folder, "a") == {"0"}
    assert (folder / "0").read_bytes() == b"wanted"
    assert not outside.exists()
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
    ],
)
def test_a_member_that_is_no_plain_file_is_refused(tmp_path, folder, kind):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    archive = pack(tmp_path / "x.tgz", [entry("a", kind=kind, link=str(secret))])
    with pytest.raises(UserError, match="a is no plain file"):
        extract(archive, folder, "a")
    assert not list(folder.iterdir())


def test_a_member_that_occurs_twice_is_refused(tmp_path, folder):
    archive = pack(tmp_path / "x.tgz", [entry("a", b"1"), entry("a", b"2")])
    with pytest.raises(UserError, match="holds a twice"):
        extract(archive, folder, "a")


def test_missing_members_are_named_beside_what_is_there(tmp_path, folder):
    archive = pack(tmp_path / "x.tgz", [entry("a", b"1"), entry("other/b", b"2")])
    with pytest.raises(UserError, match=r"lacks b, c; besides, it holds other/b"):
        extract(archive, folder, "a", "b", "c")


def chain_of_links(steps: int) -> list[Entry]:
    """Links to links, and folders with long names, until their full path is too long to check.

    Extractors that check the resolved path of a member first have been led out by such chains.
    """
    long, entries, path = "d" * 247, [], ""
    for name in "abcdefghijklmnop"[:steps]:
        entries.append(entry(f"{path}{long}", kind=tarfile.DIRTYPE))
        entries.append(entry(f"{path}{name}", kind=tarfile.SYMTYPE, link=long))
        path += f"{name}/"
    entries.append(entry(f"{path}{'l' * 254}", kind=tarfile.SYMTYPE, link="../" * steps))
    entries.append(entry("out", kind=tarfile.SYMTYPE, link=f"{path}{'l' * 254}/../.."))
    entries.append(entry("known", kind=tarfile.LNKTYPE, link="out/secret"))
    entries.append(entry("known", b"overwritten"))
    entries.append(entry("out/escaped", b"x"))
    return entries


@pytest.mark.parametrize("steps", [1, 16])
def test_a_chain_of_links_leads_nowhere(tmp_path, folder, steps):
    secret = folder.parent / "secret"
    secret.write_text("secret")
    entries = [*chain_of_links(steps), entry("wanted", b"wanted")]
    archive = pack(tmp_path / "x.tgz", entries)
    extract_members(archive, {"wanted": folder / "0"}, CAP)
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["0", "inner", "secret"]
    for name in ("known", "out"):
        with pytest.raises(UserError, match=f"{name} is no plain file"):
            extract_members(archive, {name: folder / "0"}, CAP)
    assert secret.read_text() == "secret"
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["0", "inner", "secret"]


def test_names_that_differ_in_case_only_are_different_members(tmp_path, folder):
    """Also where they would be one file: each is written under its caller's name."""
    names = ["Text/A", "text/a", "TEXT/A", "text/A"]
    archive = pack(tmp_path / "x.tgz", [entry(name, name.encode()) for name in names])
    assert extract(archive, folder, *names) == {"0", "1", "2", "3"}
    assert [(folder / str(i)).read_text() for i in range(4)] == names


def test_members_can_be_chosen_by_their_names(tmp_path, folder):
    names = ["txt/de/a.txt", "./txt/de/b.txt", "txt/fr/a.txt", "txt/de/../../../c.txt"]
    archive = pack(tmp_path / "x.tgz", [entry(name, name.encode()) for name in names])

    def choose(name: str) -> Path | None:
        return folder / name[-5:] if name.startswith("txt/de/") and ".." not in name else None

    assert extract_chosen(archive, choose, CAP) == {folder / "a.txt", folder / "b.txt"}
    assert (folder / "b.txt").read_bytes() == b"./txt/de/b.txt"
    assert len(list(folder.iterdir())) == 2
    with pytest.raises(UserError, match=r"holds txt/fr/a\.txt twice"):
        extract_chosen(archive, lambda name: folder / name[-5:], CAP)


@pytest.mark.parametrize("name", ["wanted", "unwanted"])
def test_a_bomb_is_stopped_at_the_cap(tmp_path, folder, name):
    archive = tmp_path / "bomb.tgz"
    info, _ = entry(name)
    info.size = 1 << 40
    zeros = gzip.compress(bytes(20 << 20))
    archive.write_bytes(gzip.compress(info.tobuf()) + zeros * 5)
    assert archive.stat().st_size * 1_000 < 100 << 20
    with cheap(), pytest.raises(UserError, match="more than the 10,000,000 bytes allowed"):
        extract(archive, folder, "wanted")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= CAP


def test_a_sparse_file_of_a_terabyte_is_refused(tmp_path, folder):
    info, _ = entry("a")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(format=tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)  # the size when unpacked, without any data
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    archive = tmp_path / "x.tar"
    archive.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(UserError, match="a is no plain file"):
        extract(archive, folder, "a")


def test_a_chain_of_long_names_is_no_crash(tmp_path, folder):
    info, data = entry("././@LongLink", b"x" * 10, kind=tarfile.GNUTYPE_LONGNAME)
    archive = tmp_path / "x.tar"
    archive.write_bytes((info.tobuf() + data.ljust(512, b"\0")) * 5_000)
    with pytest.raises(UserError, match=r"no readable \.tar or \.tar\.gz archive"):
        extract(archive, folder, "a")


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", b"PK\x03\x04 not a tar", b"<html>404</html>" * 100, bytes(3)]
)
def test_what_is_no_archive_is_named_so(tmp_path, folder, data):
    (tmp_path / "x.tgz").write_bytes(data)
    with pytest.raises(UserError, match=r"x.tgz (is no readable|lacks a)"):
        extract(tmp_path / "x.tgz", folder, "a")


WHOLE = {"a": b"first " * 3_000, "b": b"second " * 3_000}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x.tgz"
    return pack(path, [entry(*item) for item in WHOLE.items()]).read_bytes()


def attempt(tmp_path: Path, data: bytes) -> bool:
    """Whether the archive is accepted; if it is, nothing in it may differ from the original."""
    (tmp_path / "x.tgz").write_bytes(data)
    files = {name: tmp_path / name for name in WHOLE}
    try:
        extract_members(tmp_path / "x.tgz", files, CAP)
    except UserError:
        return False
    assert {name: path.read_bytes() for name, path in files.items()} == WHOLE
    return True


def test_a_cut_off_archive_is_refused(tmp_path, packed, trials: Trials):
    @settings(max_examples=trials(50, 1_000), deadline=None)
    @given(st.floats(0, 1, exclude_max=True))
    def cut_off(share: float) -> None:
        assert not attempt(tmp_path, packed[: int(len(packed) * share)])

    cut_off()


def test_a_flipped_bit_is_found_or_harmless(tmp_path, packed, trials: Trials):
    @settings(max_examples=trials(50, 1_000), deadline=None)
    @given(st.integers(0), st.integers(0, 7))
    @example(3, 0)  # the gzip header's flags
    def flip(position: int, bit: int) -> None:
        damaged = bytearray(packed)
        damaged[position % len(packed)] ^= 1 << bit
        attempt(tmp_path, bytes(damaged))

    flip()
