import random
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzzing import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from reluformer.data.binary import (
    BLOCK_TOKENS,
    INDEX_HEADER,
    INDEX_MAGIC,
    TokenFile,
    TokenFileWriter,
    index_path,
    tokens_path,
)
from reluformer.errors import UserError


def write(path: Path, sequences: list[list[int]], vocabulary_size: int = 1000) -> None:
    with TokenFileWriter(path, vocabulary_size) as writer:
        for part in (sequences[:3], sequences[3:]):
            lengths = np.array([len(sequence) for sequence in part], dtype=np.int64)
            writer.extend(np.array([t for s in part for t in s], dtype=np.int64), lengths)


def read_all(path: Path) -> list[list[int]]:
    file = TokenFile(path)
    return [file[i].tolist() for i in range(len(file))]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 65535), max_size=9), max_size=12), st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[list[int]], wide: bool
) -> None:
    path = tmp_path_factory.mktemp("binary") / "train.source"
    write(path, sequences, 70_000 if wide else 65_536)
    assert read_all(path) == sequences
    file = TokenFile(path)
    file.verify()
    assert file.lengths().tolist() == [len(sequence) for sequence in sequences]
    assert file.num_tokens == sum(map(len, sequences))
    size = tokens_path(path).stat().st_size
    assert size == 16 + file.num_tokens * (4 if wide else 2)


def test_take_gives_any_sequences_in_any_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 1000, n).tolist() for n in rng.integers(0, 400, 500)]
    sequences[7] = rng.integers(0, 1000, 3 * BLOCK_TOKENS).tolist()
    write(tmp_path / "x", sequences)
    file = TokenFile(tmp_path / "x")
    ids = rng.integers(0, len(sequences), 200)
    ids[50] = 7
    tokens, lengths = file.take(ids)
    assert lengths.tolist() == [len(sequences[i]) for i in ids]
    assert tokens.tolist() == [token for i in ids for token in sequences[i]]
    assert file.lengths(ids).tolist() == lengths.tolist()
    assert file.lengths(slice(3, 9)).tolist() == [len(s) for s in sequences[3:9]]
    with pytest.raises(IndexError):
        file[500]


def test_nothing_appears_before_the_writer_is_closed(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TokenFileWriter(tmp_path / "x", 100) as writer:
            writer.extend(np.arange(5), np.array([2, 3]))
            assert not tokens_path(tmp_path / "x").exists()
            assert not index_path(tmp_path / "x").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_lengths_must_add_up(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="lengths sum to 3, but there are 5 tokens"),
        TokenFileWriter(tmp_path / "x", 100) as writer,
    ):
        writer.extend(np.arange(5), np.array([1, 2]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("written") / "train.target"
    write(path, [rng.integers(0, 900, n).tolist() for n in rng.integers(0, 60, 2500)])
    return path


def copy(written: Path, folder: Path) -> Path:
    for file in (tokens_path(written), index_path(written)):
        shutil.copy(file, folder)
    return folder / written.name


@pytest.mark.check("B5")
def test_every_flipped_bit_is_noticed_before_its_token_is_used(
    written: Path, tmp_path: Path, trials
) -> None:
    path, rng = copy(written, tmp_path), random.Random(0)
    reference = read_all(path)
    for trial in range(trials(60, 400)):
        victim = (tokens_path, index_path)[trial % 2](path)
        original = victim.read_bytes()
        bits = bytearray(original)
        bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        victim.write_bytes(bits)
        with pytest.raises(UserError, match=victim.name):
            TokenFile(path).take(np.arange(2500))
        victim.write_bytes(original)
    assert read_all(path) == reference


@pytest.mark.check("B5")
@pytest.mark.parametrize("name", [tokens_path, index_path])
def test_cut_off_or_extended_files_are_noticed_at_opening(name, written, tmp_path, trials) -> None:
    path, rng = copy(written, tmp_path), random.Random(0)
    original = name(path).read_bytes()
    cuts = [original[: rng.randrange(len(original))] for _ in range(trials(20, 200))]
    for data in (b"", original + b"\0", *cuts):
        name(path).write_bytes(data)
        with pytest.raises(UserError, match=r"train\.target"):
            TokenFile(path)


@pytest.mark.check("B5")
def test_foreign_files_are_noticed(written: Path, tmp_path: Path) -> None:
    path = copy(written, tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*none\.idx"):
        TokenFile(tmp_path / "none")
    big_endian = np.frombuffer(tokens_path(path).read_bytes()[16:], "<u2").astype(">u2")
    tokens_path(path).write_bytes(tokens_path(written).read_bytes()[:16] + big_endian.tobytes())
    with pytest.raises(UserError, match=r"train\.target\.bin .* checksum"):
        TokenFile(path)[5]
    index_path(path).write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UserError, match="does not begin as an index"):
        TokenFile(path)


@pytest.mark.check("B5")
@pytest.mark.parametrize(
    ("fields", "offsets", "said"),
    [
        ((7, 1, 4), [0, 4], "its header makes no sense"),
        ((2, -1, 4), [0, 4], "its header makes no sense"),
        ((2, 1, -4), [0, 4], "its header makes no sense"),
        ((2, 1 << 60, 4), [0, 4], "bytes instead of"),
        ((2, 1, 1 << 60), [0, 4], "bytes instead of"),
        ((2, 2, 4), [0, 5, 4], "its offsets are not in order"),
        ((2, 2, 4), [-9, -8, 4], "its offsets are not in order"),
        ((2, 2, 4), [0, 1, 3], "its offsets are not in order"),
    ],
)
def test_an_index_made_to_harm_is_refused(fields, offsets, said, tmp_path: Path) -> None:
    """Its checksums are right, but what it says cannot be."""
    write(tmp_path / "x", [[1, 2, 3, 4]])
    payload = (
        np.array(offsets, dtype="<i8").tobytes() + index_path(tmp_path / "x").read_bytes()[-4:]
    )
    header = INDEX_HEADER.pack(INDEX_MAGIC, 1, *fields, zlib.crc32(payload))
    checked = header + zlib.crc32(header).to_bytes(4, "little")
    index_path(tmp_path / "x").write_bytes(checked + payload)
    with pytest.raises(UserError, match=said):
        TokenFile(tmp_path / "x")


@pytest.mark.check("B5")
@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_spoilt_files_bring_out_our_error_only(written: Path, tmp_path: Path, trials) -> None:
    """Bytes removed, put in and written over, anywhere; all of it is noticed, and named."""
    path = copy(written, tmp_path)

    @cases(trials(100, 4000))
    @given(st.sampled_from([tokens_path, index_path]), st.data())
    def spoil(name, data: st.DataObject) -> None:
        original = name(written).read_bytes()
        begin = data.draw(st.integers(0, len(original)) | st.integers(0, 50))
        end = data.draw(st.integers(begin, len(original)) | st.just(begin))
        spoilt = original[:begin] + data.draw(st.binary(max_size=60)) + original[end:]
        name(path).write_bytes(spoilt)
        try:
            if spoilt == original:
                TokenFile(path).verify()
            else:
                with pytest.raises(UserError, match=name(path).name):
                    TokenFile(path).take(np.arange(2500))
        finally:
            name(path).write_bytes(original)

    spoil()


@pytest.mark.check("B5")
def test_verify_reads_what_nobody_touched(written: Path, tmp_path: Path) -> None:
    path = copy(written, tmp_path)
    data = bytearray(tokens_path(path).read_bytes())
    data[-1] ^= 1
    tokens_path(path).write_bytes(data)
    file = TokenFile(path)
    assert len(file[1]) == file.lengths()[1]
    with pytest.raises(UserError, match="does not match its checksum"):
        file.verify()
