"""Any words on the command line."""

import pytest
from fuzzing import cases
from hypothesis import given
from hypothesis import strategies as st

from reluformer.cli.app import compose
from reluformer.cli.preprocess import main
from reluformer.config.data import PreprocessConfig
from reluformer.errors import UserError

KEYS = ["data", "data.name", "data.max_ratio", "data.vocab_size", "threads", "overwrite", "hydra"]
SIGNS = ["", "+", "++", "~"]
# What means something to Hydra's grammar, to OmegaConf or to a file system, or nearly does.
VALUES = ["${oc.env:HOME}", "${x", "${data}", "${oc.decode:1}", "[1,", "{a:", "1,2", "'", "\\"]
VALUES += ["\n", "null", "???", "custom", "1e999", "-1", "9" * 5000, "nan", "range(1,9)"]
OPTIONS = ["-m", "--config-dir", "~data", "-c", "job", "--"]
DATA = ["data=custom", "data.name=x", "data.source_lang=de", "data.target_lang=en"]


@pytest.mark.check("B6")
@pytest.mark.timeout(3600)
def test_any_arguments_are_settings_or_our_error(trials) -> None:
    """Words at random, and settings that are there with values at random."""
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    value = text | st.sampled_from(VALUES)
    setting = st.builds("{}{}={}".format, st.sampled_from(SIGNS), st.sampled_from(KEYS), value)
    word = setting | text | st.sampled_from(OPTIONS)

    @cases(trials(10, 1000))
    @given(st.lists(word, min_size=1, max_size=3))
    def read(words: list[str]) -> None:
        message = ""
        try:
            compose("preprocess", main, PreprocessConfig, [*DATA, *words])
        except UserError as error:
            message = str(error)
        assert "\n" not in message.strip()

    read()


@pytest.mark.check("B6")
@pytest.mark.parametrize(
    "word", ["data=null", "data=1e999", "~data=-1", "+=", "threads=" + "9" * 5000, "--con=d"]
)
def test_what_others_refuse_in_their_own_ways(run, word: str) -> None:
    assert run(main, *DATA, word).error()
