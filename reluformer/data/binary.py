"""Token sequences on disk: written once as a stream, read memory-mapped.

One side of one split is two files, everything little-endian:

    NAME.bin   16-byte header, then the token ids of all sequences end to end (uint16 or uint32)
    NAME.idx   40-byte header, then N + 1 int64 offsets (in tokens; sequence i is
               offsets[i]:offsets[i + 1]), then one CRC-32 per block of tokens

The index carries its own CRC-32 and is checked whole at opening, in one sequential read that
keeps nothing in memory. Blocks of tokens are checked when they are first read, so a damaged
file is noticed before any of its tokens are used, and opening stays fast at any size.
"""

import hashlib
import struct
import zlib
from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from reluformer.durable import make_durable, make_folder_durable, temporary
from reluformer.errors import UserError

Ids = npt.NDArray[np.int64]

VERSION = 1
BLOCK_TOKENS = 1 << 15
READ_BYTES = 1 << 20
TOKENS_MAGIC = b"RLFtoken"
INDEX_MAGIC = b"RLFindex"
TOKENS_HEADER = struct.Struct("<8sII")  # magic, version, bytes per token
INDEX_HEADER = struct.Struct("<8sIIqqI")  # ... , sequences, tokens, CRC-32 of what follows
INDEX_HEADER_BYTES = INDEX_HEADER.size + 4  # and a CRC-32 of the header itself


def tokens_path(path: Path) -> Path:
    """The token file that belongs to `path`, a name without suffix (`train.source`)."""
    return path.with_name(path.name + ".bin")


def index_path(path: Path) -> Path:
    """The index file that belongs to `path`, a name without suffix (`train.source`)."""
    return path.with_name(path.name + ".idx")


class TokenFileWriter:
    """Writes `path`.bin and `path`.idx; both appear only at `close()`, whole and durable.

    Use it as a context manager: leaving it by an exception removes what was written. After
    closing, `sha256` (of the .bin) and `index_crc` identify the content.
    """

    def __init__(self, path: Path, vocabulary_size: int) -> None:
        self.path = path
        self.dtype = np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")
        self.num_sequences = 0
        self.num_tokens = 0
        self._block_crcs = array("I")
        self._block_crc = 0
        self._tokens_hash = hashlib.sha256()
        self._tokens = temporary(tokens_path(path)).open("wb")
        self._write_tokens(TOKENS_HEADER.pack(TOKENS_MAGIC, VERSION, self.dtype.itemsize))
        self._index = temporary(index_path(path)).open("wb")
        self._index.write(bytes(INDEX_HEADER_BYTES))
        self.index_crc = 0
        self._write_index(np.zeros(1, dtype="<i8"))

    def extend(self, tokens: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> None:
        """Append sequences given end to end; `lengths` (in tokens) says where each one ends."""
        if lengths.sum() != len(tokens):
            raise ValueError(f"lengths sum to {lengths.sum()}, but there are {len(tokens)} tokens")
        self._write_index((self.num_tokens + np.cumsum(lengths)).astype("<i8"))
        data = tokens.astype(self.dtype)
        while len(data):
            room = BLOCK_TOKENS - self.num_tokens % BLOCK_TOKENS
            piece, data = data[:room].tobytes(), data[room:]
            self._write_tokens(piece)
            self._block_crc = zlib.crc32(piece, self._block_crc)
            self.num_tokens += len(piece) // self.dtype.itemsize
            if self.num_tokens % BLOCK_TOKENS == 0:
                self._end_block()
        self.num_sequences += len(lengths)

    def close(self) -> None:
        if self.num_tokens % BLOCK_TOKENS:
            self._end_block()
        self._write_index(np.array(self._block_crcs, dtype="<u4"))
        header = INDEX_HEADER.pack(
            INDEX_MAGIC,
            VERSION,
            self.dtype.itemsize,
            self.num_sequences,
            self.num_tokens,
            self.index_crc,
        )
        self._index.seek(0)
        self._index.write(header + struct.pack("<I", zlib.crc32(header)))
        for file in (self._tokens, self._index):
            make_durable(file)
            file.close()
        for path in (tokens_path(self.path), index_path(self.path)):
            temporary(path).replace(path)
        make_folder_durable(self.path.parent)

    @property
    def sha256(self) -> str:
        return self._tokens_hash.hexdigest()

    def discard(self) -> None:
        for file in (self._tokens, self._index):
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def __enter__(self) -> "TokenFileWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _end_block(self) -> None:
        self._block_crcs.append(self._block_crc)
        self._block_crc = 0

    def _write_tokens(self, data: bytes) -> None:
        self._tokens.write(data)
        self._tokens_hash.update(data)

    def _write_index(self, values: npt.NDArray[np.generic]) -> None:
        data = values.tobytes()
        self._index.write(data)
        self.index_crc = zlib.crc32(data, self.index_crc)


class TokenFile:
    """Random access to the sequences of `path`.bin; costs no memory beyond touched pages.

    Raises UserError, naming the file, if either file is missing, cut off, foreign, damaged, of
    another version, or if the two do not belong together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        tokens, index = tokens_path(path), index_path(path)
        self.dtype, self._num_sequences, self.num_tokens, self.index_crc = _read_header(index)
        self.num_blocks = -(-self.num_tokens // BLOCK_TOKENS)
        offsets_end = INDEX_HEADER_BYTES + 8 * (self._num_sequences + 1)
        _check_size(index, offsets_end + 4 * self.num_blocks)
        self._check_index(index)
        self._check_tokens_header(tokens)
        raw = np.memmap(index, dtype=np.uint8, mode="r")
        self._offsets = np.asarray(raw[INDEX_HEADER_BYTES:offsets_end]).view("<i8")
        self._block_crcs = np.asarray(raw[offsets_end:]).view("<u4")
        raw = np.memmap(tokens, dtype=np.uint8, mode="r")
        self._tokens = np.asarray(raw[TOKENS_HEADER.size :]).view(self.dtype)
        self._block_checked = np.zeros(self.num_blocks, dtype=bool)

    def __len__(self) -> int:
        return self._num_sequences

    def __getitem__(self, index: int) -> Ids:
        """Token ids of one sequence, without BOS and EOS."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} sequences, not {index}")
        return self.take(np.array([index]))[0]

    def take(self, ids: npt.NDArray[np.integer]) -> tuple[Ids, Ids]:
        """The sequences `ids`, end to end, and the length of each in tokens."""
        starts, lengths = self._offsets[ids], self.lengths(ids).astype(np.int64)
        self._check_blocks(starts, lengths)
        first_row = np.repeat(np.cumsum(lengths) - lengths, lengths)
        positions = np.repeat(starts, lengths) + np.arange(len(first_row)) - first_row
        return self._tokens[positions].astype(np.int64), lengths

    def lengths(self, ids: npt.NDArray[np.integer] | slice = slice(None)) -> npt.NDArray[np.int32]:
        """Lengths in tokens, without BOS and EOS, of the sequences `ids` (default: all)."""
        ends, starts = self._offsets[1:][ids], self._offsets[:-1][ids]
        return np.subtract(ends, starts, dtype=np.int32, casting="unsafe")

    def verify(self) -> None:
        """Read everything once and compare it with the checksums."""
        self._check_index(index_path(self.path))
        self._block_checked[:] = False
        for block in range(self.num_blocks):
            self._check_block(block)

    def _check_index(self, path: Path) -> None:
        """Compare with the checksum, and see that the offsets rise to the number of tokens."""
        crc, left, last, rising = 0, self._num_sequences + 1, 0, True
        with open_binary(path) as file:
            file.seek(INDEX_HEADER_BYTES)
            while chunk := file.read(READ_BYTES):
                crc = zlib.crc32(chunk, crc)
                offsets = np.frombuffer(chunk, "<i8", count=min(left, len(chunk) // 8))
                if len(offsets):
                    rising &= bool(last <= offsets[0] and (offsets[:-1] <= offsets[1:]).all())
                    last = int(offsets[-1])
                left -= len(offsets)
        if crc != self.index_crc:
            raise damaged(path, "it does not match its checksum")
        if not rising or last != self.num_tokens:
            raise damaged(path, "its offsets are not in order")

    def _check_tokens_header(self, path: Path) -> None:
        with open_binary(path) as file:
            header = file.read(TOKENS_HEADER.size)
        if header != TOKENS_HEADER.pack(TOKENS_MAGIC, VERSION, self.dtype.itemsize):
            raise damaged(path, "it does not begin as the token file of this index")
        _check_size(path, TOKENS_HEADER.size + self.num_tokens * self.dtype.itemsize)

    def _check_blocks(self, starts: Ids, lengths: Ids) -> None:
        filled = lengths > 0
        first = starts[filled] // BLOCK_TOKENS
        last = (starts[filled] + lengths[filled] - 1) // BLOCK_TOKENS
        done = self._block_checked[first] & self._block_checked[last] & (last - first < 2)
        for begin, end in zip(first[~done], last[~done], strict=True):
            for block in range(begin, end + 1):
                self._check_block(block)

    def _check_block(self, block: int) -> None:
        if self._block_checked[block]:
            return
        tokens = self._tokens[block * BLOCK_TOKENS : (block + 1) * BLOCK_TOKENS]
        if zlib.crc32(tokens.tobytes()) != self._block_crcs[block]:
            raise damaged(tokens_path(self.path), f"block {block} does not match its checksum")
        self._block_checked[block] = True


def damaged(path: Path, reason: str) -> UserError:
    """The error for a corpus file whose content cannot be trusted."""
    return UserError(f"{path} is damaged or of another corpus: {reason}; make the corpus again")


def open_binary(path: Path) -> BinaryIO:
    """Open a corpus file for reading; UserError if it cannot be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _read_header(path: Path) -> tuple[np.dtype[np.unsignedinteger], int, int, int]:
    with open_binary(path) as file:
        header = file.read(INDEX_HEADER_BYTES)
    if len(header) < INDEX_HEADER_BYTES or not header.startswith(INDEX_MAGIC):
        raise damaged(path, "it does not begin as an index")
    fields, crc = header[: INDEX_HEADER.size], header[INDEX_HEADER.size :]
    _, version, width, num_sequences, num_tokens, payload_crc = INDEX_HEADER.unpack(fields)
    if version != VERSION:
        raise damaged(path, f"it has format {version}, this program reads format {VERSION}")
    if struct.pack("<I", zlib.crc32(fields)) != crc:
        raise damaged(path, "its header does not match its checksum")
    if width not in (2, 4) or num_sequences < 0 or num_tokens < 0:
        raise damaged(path, "its header makes no sense")
    return np.dtype(f"<u{width}"), num_sequences, num_tokens, payload_crc


def _check_size(path: Path, expected: int) -> None:
    size = path.stat().st_size
    if size != expected:
        raise damaged(path, f"it has {size} bytes instead of {expected}")
