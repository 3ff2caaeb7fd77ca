from pathlib import Path

import pytest
import torch
from reversal import make_criterion
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp
from trainings import make_training

from reluformer.data.corpus import Corpus
from reluformer.decoding.options import DecodeOptions
from reluformer.errors import UserError
from reluformer.training.signals import StopRequest
from reluformer.training.validation import Validation


def test_its_sentences_must_fit_its_batches(tmp_path: Path, reversal: Corpus) -> None:
    with pytest.raises(UserError, match=r"valid_max_tokens` is 5, but the longest .* needs"):
        make_training(tmp_path, reversal, 1, valid_max_tokens=5)


def test_sentences_are_not_kept_once_they_are_scored(reversal: Corpus) -> None:
    """In a training of many validations they would be memory that only grows."""
    validation = Validation(
        reversal.split("valid"),
        reversal.target_vocabulary,
        max_tokens=512,
        sentences=10,
        tokenised=False,
        decode=DecodeOptions(beam_size=1),
        precision="fp32",
    )
    report = validation.run(
        make_criterion(reversal, dropout=0.0), torch.device("cpu"), StopRequest()
    )
    assert "bleu" in report
    for tokeniser in (Tokenizer13a, TokenizerRegexp):
        assert tokeniser.__call__.cache_info().currsize == 0
