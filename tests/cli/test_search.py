"""reluformer-search: what is refused before any training, and a mechanism of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reluformer.cli.search import main

pytestmark = pytest.mark.unchecked

Run = Callable[..., Any]
SMALL = (
    "model.encoder_layers=1 model.decoder_layers=1 model.d_model=16 model.ffn_dim=16 "
    "train.max_updates=1 train.valid_sentences=0 train.best_metric=loss"
)
GAMMA = "+space={attention.gamma: [1, 2]}"
MINE = """\
defaults:
  - relu
_target_: halved.Halved
"""
HALVED = """\
from reluformer.attention.relu import ReluAttention


class Halved(ReluAttention):
    pass
"""


@pytest.fixture
def search(run: Run, reversal_folder: Path) -> Run:
    """search(arguments) of one trial on the small corpus."""
    pytest.importorskip("optuna")
    data = "data=custom data.name=reversal data.source_lang=aa data.target_lang=bb"
    train = f"{data} data.vocab_size=20 data.text=text data.binary={reversal_folder} {SMALL}"

    def search_with(*arguments: str) -> Any:
        ours = [f"train={train}", "output=out", "trials=1", "threads=1", "device=cpu"]
        return run(main, "name=test", *ours, *arguments)

    return search_with


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [GAMMA, "metric=bleu"],
            "`metric` is bleu, but `train.valid_sentences` is 0, so nothing is ",
        ),
        (
            [GAMMA, "changes=train.max_update=1"],
            "`train.max_update`; did you mean train.max_updates",
        ),
        (["+space={model.num_heads: [3]}"], "a training with model.num_heads=3: `num_heads` must"),
        (["+space={attention.gama: [3]}"], "gama"),
        ([GAMMA, "changes=data.binary=nowhere"], "nowhere"),
        ([GAMMA, "changes=data.max_length=9"], "`max_length` is 256 there and 9 here"),
    ],
)
def test_what_all_trials_would_fail_by(search: Run, arguments: list[str], message: str) -> None:
    assert message in search(*arguments).error()
    assert list(Path.cwd().iterdir()) == []


def test_a_mechanism_and_a_module_of_ones_own(search: Run, tmp_path: Path) -> None:
    (tmp_path / "mine/attention").mkdir(parents=True)
    (tmp_path / "mine/attention/halved.yaml").write_text(MINE)
    Path("halved.py").write_text(HALVED)
    own = ["--config-dir", f"{tmp_path}/mine", "allow=[halved]", "changes=attention=halved"]
    outcome = search(*own, "+space={attention.gamma: [3.5]}")
    assert outcome.code == 0, outcome.err
    config = Path("out/runs/trial0/config.yaml").read_text()
    assert config.count("_target_: halved.Halved") == config.count("gamma: 3.5") == 3
    best = outcome.err.replace("\n", " ").partition("the best: ")[2]
    assert "'allow=[halved]'" in best
    assert " seed=1 " in best
    assert f"--config-dir {tmp_path}/mine" in best


def test_failed_trials_are_passed_over_until_the_first_three_have_failed(search: Run) -> None:
    """Each is said with its reason and is not repeated."""
    outcome = search("+space={attention.gamma: [-1]}", "trials=9")
    assert outcome.code == 2
    *failed, end = outcome.err.removesuffix("\n").split("\n")
    assert [line.partition(" must be")[0] for line in failed] == [
        f"trial {number}: failed: `gamma`" for number in range(3)
    ]
    assert end.startswith("error: the first 3 trials all failed, the last one by: `gamma` must be")
    message = search("+space={attention.gamma: [-1]}", "trials=3").error()
    assert message == "no trial has succeeded: their logs are in out/runs"


def test_a_damaged_study(search: Run) -> None:
    """Cut, emptied, or with a page of it overwritten."""
    assert search("+space={attention.gamma: [3.5]}", "trials=1").code == 0
    study = Path("out/study.db")
    whole = study.read_bytes()
    pages = [whole[:at] + bytes(4096) + whole[at + 4096 :] for at in range(0, len(whole), 4096)]
    said = []
    for damaged in [whole[:3000], b"", *pages]:
        study.write_bytes(damaged)
        outcome = search("+space={attention.gamma: [3.5]}", "trials=1")
        assert outcome.code in (0, 2), outcome.err  # a page may be one that is not read
        said.append(outcome.err)
    assert "study.db cannot be used" in said[0]
    assert "study.db is lost" in said[1]
    assert sum("cannot be used" in one for one in said[2:]) >= 3
