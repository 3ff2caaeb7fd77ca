"""Settings of all attention sites, or of both feed-forward networks, at once."""

import pytest

from reluformer.cli.arguments import parse_arguments
from reluformer.config.bench import BenchConfig
from reluformer.config.scoring import ScoreConfig
from reluformer.config.sites import at_all_sites, at_sites
from reluformer.config.training import TrainConfig
from reluformer.errors import UserError


def test_attention_stands_for_three_sites_and_ffn_for_two() -> None:
    assert at_sites("attention=relu") == [
        "attention@model.encoder_self_attention=relu",
        "attention@model.decoder_self_attention=relu",
        "attention@model.cross_attention=relu",
    ]
    assert at_sites("attention.gamma=2") == [
        "model.encoder_self_attention.gamma=2",
        "model.decoder_self_attention.gamma=2",
        "model.cross_attention.gamma=2",
    ]
    assert at_sites("ffn=gelu") == ["ffn@model.encoder_ffn=gelu", "ffn@model.decoder_ffn=gelu"]
    for one in ("attention@model.cross_attention=relu", "model.d_model=8", "~experiment"):
        assert at_sites(one) == [one]


def test_a_site_named_itself_goes_before() -> None:
    """Whichever stands first."""
    named = "attention@model.cross_attention=softmax"
    expected = [
        "attention@model.encoder_self_attention=relu",
        "attention@model.decoder_self_attention=relu",
    ]
    assert at_all_sites(["attention=relu", named], False) == [*expected, named]
    assert at_all_sites([named, "attention=relu"], False) == [named, *expected]


def test_a_grid_over_all_sites_at_once_is_refused() -> None:
    with pytest.raises(UserError, match=r"`ffn=relu,gelu` with -m would mix .* ffn@model.encoder"):
        at_all_sites(["ffn=relu,gelu"], True)
    with pytest.raises(UserError, match=r"would mix values between the sites"):
        at_all_sites(["attention=glob(relu*)"], True)
    assert len(at_all_sites(["attention.kernel=[3,5]"], True)) == 3
    one = ["ffn@model.encoder_ffn=relu,gelu", "seed=1,2"]
    assert at_all_sites(one, True) == one


def test_commands_that_train_understand_it() -> None:
    assert len(parse_arguments(["attention=relu", "seed=2"], TrainConfig).overrides) == 4
    for other in (ScoreConfig, BenchConfig):  # there Hydra says that it is no setting
        assert parse_arguments(["attention=relu"], other).overrides == ["attention=relu"]
