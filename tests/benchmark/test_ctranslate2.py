"""The rival in C++ is our softmax model: with the same weights it translates the same."""

import pytest
import torch
from small_models import FFN

from reluformer.benchmark.ctranslate2 import CTranslate2
from reluformer.benchmark.synthetic import synthetic_sources
from reluformer.config.bench import build_systems, run_benchmark
from reluformer.data.batch import collate_sources
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.errors import UserError

pytest.importorskip("ctranslate2", reason="needs ctranslate2: pip install 'reluformer[baselines]'")


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_same_hypotheses(bench_config, pre_norm, beam_size):
    config = bench_config(systems=["softmax"], model={"pre_norm": pre_norm})
    model = build_systems(config)["softmax"].eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    rival = CTranslate2(model, "fp32", torch.device("cpu"))
    sources = synthetic_sources(5, mean_length=6, vocab_size=40, seed=4)
    options = DecodeOptions(
        beam_size=beam_size, n_best=beam_size, min_length=7, max_len_a=0.0, max_len_b=7
    )
    expected = translate_batch(model, *collate_sources(sources), options)
    found = rival.translate([sources], beam_size, 7)
    for own, other in zip(expected, found, strict=True):
        # Its last place may go to a less likely hypothesis at the last step; and what our search
        # scores, the end of sentence, may put the best in another order.
        certain = other[: max(beam_size - 1, 1)]
        assert all(tokens in [one.tokens for one in own] for tokens in certain)


def test_it_runs_beside_ours(bench_config):
    config = bench_config(what="translate", systems=["relu", "ctranslate2"], precision="int8")
    [report] = run_benchmark(config, "command")
    assert list(report.outcome.rates) == ["relu", "CTranslate2, softmax"]
    own, rival = report.outcome.parameters.values()
    assert own > rival  # by gamma


@pytest.mark.parametrize(
    "change", [{"activation": "gelu"}, {"bias": False}, {"output_norm": True}], ids=str
)
def test_other_networks_are_refused(bench_config, change):
    config = bench_config(systems=["softmax"], model={"decoder_ffn": FFN | change})
    with pytest.raises(UserError, match=r"conf/ffn/relu\.yaml only"):
        CTranslate2(build_systems(config)["softmax"], "fp32", torch.device("cpu"))


def test_it_only_translates(bench_config):
    with pytest.raises(UserError, match="what=translate only"):
        bench_config(what="train", systems=["relu", "ctranslate2"])


def test_what_it_cannot_do_is_an_error(bench_config, monkeypatch):
    import ctranslate2

    def refuse(*_, **__):
        raise ValueError("no such type")

    monkeypatch.setattr(ctranslate2, "Translator", refuse)
    model = build_systems(bench_config(systems=["softmax"]))["softmax"]
    with pytest.raises(UserError, match="CTranslate2: no such type"):
        CTranslate2(model, "bf16", torch.device("cpu"))
