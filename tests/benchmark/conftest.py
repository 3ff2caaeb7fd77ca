"""Systems of 16 channels."""

import numpy as np
import pytest
from small_models import FFN, RELU

from reluformer.benchmark.synthetic import synthetic_split
from reluformer.config.bench import BenchConfig
from reluformer.config.model import ModelConfig
from reluformer.data.batch import Batch, collate


def tiny_model(**changes: object) -> ModelConfig:
    settings = {
        **dict.fromkeys(
            ("encoder_self_attention", "decoder_self_attention", "cross_attention"), RELU
        ),
        "encoder_ffn": FFN,
        "decoder_ffn": FFN,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "d_model": 16,
        "ffn_dim": 24,
        "num_heads": 2,
        "pre_norm": False,
        "share_embeddings": "target",
        "max_positions": 256,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
    }
    return ModelConfig(**{**settings, **changes})


@pytest.fixture
def bench_config():
    """bench_config(what=..., model={...}, ...) with tiny sizes."""

    def build(model: dict | None = None, **changes: object) -> BenchConfig:
        settings = {
            "what": "train",
            "systems": ["relu", "relu_centered", "softmax", "pytorch"],
            "threads": None,
            "rounds": 2,
            "profile": False,
            "precision": "fp32",
            "device": "cpu",
            "vocab_size": 40,
            "seed": 1,
            "output": None,
            "updates": 2,
            "max_tokens": 256,
            "compile": False,
            "packed": False,
            "regulariser_weight": 0.01,
            "sentences": 3,
            "beam_size": 2,
            "lengths": [8, 16],
            "causal": False,
            "positions": 16,
            "text": None,
            "lines": 50,
            "allow": [],
        }
        return BenchConfig(**{**settings, **changes}, model=tiny_model(**(model or {})))

    return build


@pytest.fixture
def batch(tmp_path) -> Batch:
    """Six sentences of very different lengths."""
    return collate(synthetic_split(tmp_path, 6, 40, seed=3), np.arange(6))
