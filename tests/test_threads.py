"""Threads of PyTorch and of NumPy, told alike and given back."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from threadpoolctl import threadpool_info

import reluformer
from reluformer.threads import numpy_threads, one_thread, set_threads


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    ours, numpys = torch.get_num_threads(), numpy_threads()
    yield
    set_threads(numpys)
    torch.set_num_threads(ours)


@pytest.mark.parametrize("number", [1, 2])
def test_both_are_told(number: int) -> None:
    set_threads(number)
    assert torch.get_num_threads() == number
    found = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert found == {number} == {numpy_threads()}


def test_one_thread_for_a_while() -> None:
    set_threads(2)
    torch.set_num_threads(3)
    with one_thread():
        assert (torch.get_num_threads(), numpy_threads()) == (1, 1)
    assert (torch.get_num_threads(), numpy_threads()) == (3, 2)
    with pytest.raises(KeyError), one_thread():
        {}["nothing"]
    assert (torch.get_num_threads(), numpy_threads()) == (3, 2)


def test_a_blas_that_nothing_is_known_of(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(lib_controllers=[], limit=lambda limits: None)
    monkeypatch.setattr("reluformer.threads.numpy_blas", lambda: nothing)
    assert numpy_threads() == 0


def test_the_package_tells_both_everywhere() -> None:
    """NumPy's products of long sequences are used only where its BLAS has been told."""
    package = Path(reluformer.__file__).parent
    own = [path for path in package.rglob("*.py") if path.name != "threads.py"]
    assert len(own) > 100
    assert [path.name for path in own if "torch.set_num_threads" in path.read_text()] == []
