"""What all tests share: checked types and shapes, fixed seeds, one thread, real corpora."""

import os
import random
from collections.abc import Generator
from pathlib import Path

# Triton looks at this when it is first imported, which torch may do.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import jaxtyping
import numpy as np
import pytest
import torch

# From here on these modules check the types and shapes that their functions are annotated with.
# Commands that tests start in processes of their own run without this, as users run them.
TENSOR_MODULES = [
    "reluformer.analysis",
    "reluformer.attention",
    "reluformer.data.batch",
    "reluformer.decoding.beam",
    "reluformer.model",
    "reluformer.training",
    "reluformer.visibility",
]
jaxtyping.install_import_hook(TENSOR_MODULES, "shape_checks.check")

# From tests/support: a small corpus, and the table of checks of reliability.
pytest_plugins = ["reversal", "checks"]

torch.set_num_threads(1)
# Memory that is handed out uninitialised starts as NaN, so that reading it is noticed.
torch.use_deterministic_algorithms(True, warn_only=True)

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests marked unchecked, whole trainings and searches, take a third of the time so."""
    unchecked = item.get_closest_marker("unchecked") is not None
    jaxtyping.config.update("jaxtyping_disable", unchecked)
    return (yield)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same random numbers in every test, whichever ran before."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora: RELUFORMER_CORPORA, or shared/corpora beside the checkout."""
    default = CHECKOUT.parent / "shared" / "corpora"
    folder = Path(os.environ.get("RELUFORMER_CORPORA", default))
    if not folder.is_dir():
        pytest.skip(f"no real corpora at {folder}; set RELUFORMER_CORPORA to their folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--error-table",
        metavar="FILE",
        help="write the errors of tests/attention/test_references.py to this Markdown file",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped, with the reason, where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU that PyTorch can use"))
