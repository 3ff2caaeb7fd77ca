"""Made-up sentences with the lengths of real ones: time depends on lengths, not on words."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from reluformer.data.batch import Batch, end_rows, pad_rows
from reluformer.data.binary import TokenFile, TokenFileWriter
from reluformer.data.corpus import Split
from reluformer.data.vocabulary import BOS, EOS, PAD, UNK

# Pieces of a sentence of TED talks (IWSLT14) in a vocabulary of 10,000, without the EOS.
MEAN_LENGTH, DEVIATION, LONGEST = 25.0, 16.0, 175
FIRST_PIECE = max(PAD, BOS, EOS, UNK) + 1


def synthetic_split(folder: Path, num_sentences: int, vocab_size: int, seed: int) -> Split:
    """Sentence pairs written to `folder`: gamma lengths, target / source log-normal about 1."""
    random = np.random.default_rng(seed)
    source = random_lengths(random, num_sentences, MEAN_LENGTH)
    target = source * random.lognormal(0.0, 0.2, num_sentences)
    sides = {"source": source, "target": target}
    for side, lengths in sides.items():
        pieces = np.clip(lengths.round().astype(np.int64), 1, LONGEST)
        with TokenFileWriter(folder / side, vocab_size) as writer:
            writer.extend(random_pieces(random, pieces.sum(), vocab_size), pieces)
    return Split("synthetic", TokenFile(folder / "source"), TokenFile(folder / "target"))


def synthetic_sources(
    num_sentences: int, mean_length: int, vocab_size: int, seed: int
) -> list[list[int]]:
    """Sentences of nearly the same length, `mean_length` pieces and up to two more or fewer."""
    random = np.random.default_rng(seed)
    lengths = random.integers(mean_length - 2, mean_length + 3, num_sentences)
    return [random_pieces(random, length, vocab_size).tolist() for length in lengths]


def window_batch(rows: int, length: int, vocab_size: int, seed: int) -> Batch:
    """Windows of just `length` positions on both sides, the EOS included."""
    random = np.random.default_rng(seed)
    pieces = random_pieces(random, 2 * rows * (length - 1), vocab_size)
    sides = np.split(pieces.reshape(2 * rows, length - 1), 2)
    lengths = np.full(rows, length - 1)
    source, target = (end_rows(pad_rows(side.ravel(), lengths), lengths) for side in sides)
    previous = np.concatenate([np.full((rows, 1), BOS), target[:, :-1]], axis=1)
    return Batch(
        src_tokens=torch.from_numpy(source),
        src_lengths=torch.from_numpy(lengths + 1),
        prev_output_tokens=torch.from_numpy(previous),
        target=torch.from_numpy(target),
        tgt_lengths=torch.from_numpy(lengths + 1),
        ids=np.arange(rows),
        num_source_tokens=rows * length,
        num_target_tokens=rows * length,
    )


def random_lengths(random: np.random.Generator, count: int, mean: float) -> npt.NDArray[np.float64]:
    """Gamma, which vary about their mean as sentences of talks do; not rounded."""
    shape = (MEAN_LENGTH / DEVIATION) ** 2
    return random.gamma(shape, mean / shape, count)


def random_pieces(
    random: np.random.Generator, count: int, vocab_size: int
) -> npt.NDArray[np.int64]:
    """Pieces that are no special token, all equally likely."""
    return random.integers(FIRST_PIECE, vocab_size, count)
