"""Calibrated gamma does what it says: the variance ratio is met at every site."""

import numpy as np
import pytest
import torch
from small_models import RELU, model_config

from reluformer.config.build import build_model
from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.model.layers import Residual
from reluformer.model.transformer import SITES
from reluformer.training.calibration import calibrate_gamma


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_variance_ratio_is_met_at_every_site(
    pre_norm: bool, ratio: float, reversal: Corpus
) -> None:
    calibrated = {**RELU, "gamma_mode": "calibrated"}
    config = model_config(**dict.fromkeys(SITES, calibrated), pre_norm=pre_norm, dropout=0.0)
    size = len(reversal.source_vocabulary)
    model = build_model(config, size, size, True)
    split = reversal.split("train")
    equal = np.flatnonzero((split.source_lengths == 5) & (split.target_lengths == 5))[:32]
    batch = collate(split, equal)
    assert calibrate_gamma(model, [batch], ratio) == 6
    ratios = []

    def measure(module: Residual, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        stream, update = inputs
        ratios.append(float(update.var() / stream.var()))

    for name, module in model.named_modules():
        if isinstance(module, Residual) and "attention" in name:
            module.register_forward_pre_hook(measure)
    with torch.no_grad():
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    assert ratios == pytest.approx([ratio] * 6, rel=1e-3)


def test_other_modes_are_left_alone() -> None:
    model = build_model(model_config("relu"), 20, 20, True)
    assert calibrate_gamma(model, [], 1.0) == 0
