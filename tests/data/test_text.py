import codecs
import gzip
import random
import re
from pathlib import Path

import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.text import count_lines, first_suspicious_line, iterate_parallel, read_lines
from reluformer.errors import UserError

# What makes random bytes look like text, or just not.
PARTS = [b"\n", b"\r\n", b"\0", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, "ä€🙂".encode(), b"a" * 70]
ODD = [
    "",
    " ",
    "a\u2028b",
    "a\u0085b",
    "a\x0bb\x0cc\x1c",
    "a\0b",
    "a\rb",
    "\u200f\u202eabc",
    "x" * 70,
]


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.check("B2")
def test_only_lf_ends_a_line(tmp_path: Path) -> None:
    for end in ("\n", "\r\n"):
        path = write(tmp_path / "x", "".join(line + end for line in ODD))
        assert list(read_lines(path)) == ODD
        assert count_lines(path) == len(ODD)


@pytest.mark.check("B2")
@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_any_text_keeps_its_lines(tmp_path_factory, lines: list[str]) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any", "".join(f"{x}\n" for x in lines))
    expected = [line.removesuffix("\r") for line in lines]
    if lines:
        expected[0] = expected[0].removeprefix("\ufeff")
    assert list(read_lines(path)) == expected
    assert count_lines(path) == len(lines)


@pytest.mark.check("B2")
@pytest.mark.check("B3")
@pytest.mark.parametrize(
    ("data", "lines"),
    [("", []), ("\n", [""]), ("a", ["a"]), ("a\nb", ["a", "b"]), ("\ufeffa\n\ufeffb\n", None)],
)
def test_unfinished_lines_and_byte_order_marks(tmp_path: Path, data: str, lines) -> None:
    path = write(tmp_path / "x", data)
    assert list(read_lines(path)) == (lines if lines is not None else ["a", "\ufeffb"])
    assert count_lines(path) == len(list(read_lines(path)))


def test_compressed_text_is_the_same_text(tmp_path: Path) -> None:
    data = "ä\n\nö\n" * 1000
    packed = write(tmp_path / "x.gz", gzip.compress(data.encode()))
    assert list(read_lines(packed)) == data.split("\n")[:-1]
    assert count_lines(packed) == 3000
    write(packed, packed.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cannot decompress .*x\.gz"):
        count_lines(packed)
    write(packed, data)
    with pytest.raises(UserError, match=r"cannot decompress .*x\.gz"):
        list(read_lines(packed))


@pytest.mark.check("B2")
def test_damage_is_reported_where_python_finds_it(tmp_path: Path, trials) -> None:
    """Random damages; the place is worked out anew from the whole file's bytes."""
    clean, rng = "Süße Grüße aus Köln …\n" * 40, random.Random(0)
    for _ in range(trials(100, 1000)):
        data = bytearray(clean.encode())
        data[rng.randrange(len(data))] = rng.choice([0x80, 0xC0, 0xF5, 0xFF, 0xED])
        path = write(tmp_path / "x", bytes(data))
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            byte = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
            with pytest.raises(UserError, match=rf"x, line {line}, byte {byte}: not valid UTF-8"):
                list(read_lines(path))
        else:
            assert len(list(read_lines(path))) == count_lines(path)


@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_bytes_are_lines_or_our_error(tmp_path: Path, trials) -> None:
    """And the quick scan agrees with the reading line by line, whatever the bytes."""
    path = tmp_path / "x"

    @cases(trials(200, 10_000))
    @given(st.lists(st.binary(max_size=8) | st.sampled_from(PARTS)).map(b"".join))
    def agree(data: bytes) -> None:
        path.write_bytes(data)
        try:
            lines = list(read_lines(path))
        except UserError as error:
            with pytest.raises(UserError, match=re.escape(str(error))):
                count_lines(path)
        else:
            unfinished = not data.endswith(b"\n") and data != b""
            assert count_lines(path) == len(lines) == data.count(b"\n") + unfinished

    agree()


@pytest.mark.check("B2")
def test_utf16_and_unreadable_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "Hallo\nWelt\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"line 1, byte 1: .* looks like UTF-16"):
        list(read_lines(path))
    with pytest.raises(UserError, match=r"cannot read .*none: No such file"):
        count_lines(tmp_path / "none")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        list(read_lines(tmp_path))


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["wort " * rng.randint(1, 30) + f"{i}" for i in range(count)]


@pytest.mark.check("B1")
@pytest.mark.parametrize("lost", [0, 1, 57, 198, 199])
@pytest.mark.parametrize("count", [1, 3])
def test_unequal_files_part_where_lines_were_lost(tmp_path: Path, lost: int, count: int) -> None:
    lines = sentences(200, seed=0)
    translated = [line.replace("wort", "words") for line in lines]
    del translated[lost : lost + count]
    source = write(tmp_path / "a", "".join(f"{x}\n" for x in lines))
    target = write(tmp_path / "b", "".join(f"{x}\n" for x in translated))
    assert abs(first_suspicious_line(source, target) - (lost + 1)) <= 1
    assert first_suspicious_line(source, target) == first_suspicious_line(target, source)
    counts = rf"a has 200 lines, but .*b has {len(translated)}; .* near line \d+ \('"
    with pytest.raises(UserError, match=counts):
        iterate_parallel(source, target)


@pytest.mark.check("B1")
@pytest.mark.check("B3")
def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a", "1\n2\n3"), write(tmp_path / "b", "x\ny\nz\n")
    pairs = iterate_parallel(source, target)
    write(target, "x\n")
    with pytest.raises(UserError, match="changed while it was read: run again"):
        list(pairs)


@pytest.mark.check("B1")
@pytest.mark.check("B3")
def test_equal_files_are_paired(tmp_path: Path) -> None:
    source, target = write(tmp_path / "a", "1\n\n3"), write(tmp_path / "b", "x\ny\nz\n")
    assert list(iterate_parallel(source, target)) == [("1", "x"), ("", "y"), ("3", "z")]
    empty = write(tmp_path / "c", "")
    with pytest.raises(UserError, match=r"3 lines, but .*c has 0;.*'x' against end of file"):
        iterate_parallel(target, empty)
