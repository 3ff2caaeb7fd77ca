"""Calibrated gamma does what it says: the variance ratio is met at every site."""

import numpy as np
import pytest
import torch
from small_models import RELU, model_config

from reluformer.config.build import build_model
from reluformer.data.batch import collate
from reluformer.data.corpus import Corpus
from reluformer.errors import UserError
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
    batch = collate(split, np.arange(40))
    source_is_real = torch.arange(batch.src_tokens.shape[1]) < batch.src_lengths[:, None]
    target_is_real = torch.arange(batch.target.shape[1]) < batch.tgt_lengths[:, None]
    assert not source_is_real.all()
    assert calibrate_gamma(model, batch, ratio) == 6
    ratios = []

    def measure(module: Residual, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        stream, update = inputs
        real = source_is_real if stream.shape[1] == source_is_real.shape[1] else target_is_real
        ratios.append(float(update[real].var() / stream[real].var()))

    for name, module in model.named_modules():
        if isinstance(module, Residual) and "attention" in name:
            module.register_forward_pre_hook(measure)
    with torch.no_grad():
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    assert ratios == pytest.approx([ratio] * 6, rel=1e-3)


def test_other_modes_are_left_alone(reversal: Corpus) -> None:
    size = len(reversal.source_vocabulary)
    model = build_model(model_config("relu"), size, size, True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = collate(reversal.split("train"), np.arange(8))
    assert calibrate_gamma(model, batch, 1.0) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_site_that_gives_nothing_is_refused(reversal: Corpus) -> None:
    size = len(reversal.source_vocabulary)
    calibrated = {**RELU, "gamma_mode": "calibrated"}
    model = build_model(model_config(cross_attention=calibrated), size, size, True)
    with torch.no_grad():
        model.decoder_layers[0].cross_attention.output_projection.weight.zero_()
    batch = collate(reversal.split("train"), np.arange(8))
    with pytest.raises(UserError, match="gamma cannot be calibrated"):
        calibrate_gamma(model, batch, 1.0)
