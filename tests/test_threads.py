"""Threads of PyTorch and of NumPy, told alike and given back."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, get_ident
from types import SimpleNamespace

import pytest
import torch
from threadpoolctl import threadpool_info

import reluformer
from reluformer.threads import (
    numpy_blas,
    numpy_threads,
    on_own_threads,
    one_thread,
    own_threads,
    set_threads,
)


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    ours, numpys = torch.get_num_threads(), numpy_threads()
    yield
    numpy_blas().limit(limits=numpys)
    torch.set_num_threads(ours)


@pytest.mark.parametrize("number", [1, 2, None])
def test_both_are_told(number: int | None) -> None:
    numpy_blas().limit(limits=2)
    before = torch.get_num_threads()
    set_threads(number)
    assert torch.get_num_threads() == (number or before)
    found = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert found == {1} == {numpy_threads()}


def test_one_thread_for_a_while() -> None:
    numpy_blas().limit(limits=2)
    torch.set_num_threads(3)
    with one_thread():
        assert (torch.get_num_threads(), numpy_threads()) == (1, 1)
    assert (torch.get_num_threads(), numpy_threads()) == (3, 2)
    with pytest.raises(KeyError), one_thread():
        {}["nothing"]
    assert (torch.get_num_threads(), numpy_threads()) == (3, 2)


def seen_by_two(work: Callable[[int], object]) -> list[object]:
    """What `work` gives in two threads of their own, both at it at the same time."""
    torch.set_num_threads(2)
    both, found = Barrier(2, timeout=30), {}

    def one(number: int) -> None:
        both.wait()
        found[number] = work(number)

    on_own_threads(one, [0, 1])
    return [found[0], found[1]]


def test_own_threads_have_one_of_pytorchs_each_and_no_gradients() -> None:
    def look(_: int) -> object:
        torch.ones(3).sum()  # which is when PyTorch would tell a thread the process's number
        return torch.get_num_threads(), torch.is_grad_enabled()

    assert seen_by_two(look) == [(1, False)] * 2
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


def test_own_threads_are_there_to_stay_but_not_in_a_forked_process() -> None:
    first = set(seen_by_two(lambda _: get_ident()))
    assert set(seen_by_two(lambda _: get_ident())) == first
    assert len(first) == 2
    child = os.fork()
    if not child:
        os._exit(own_threads.cache_info().currsize)
    assert os.waitpid(child, 0)[1] == 0


def test_what_fails_in_a_thread_of_its_own_is_raised() -> None:
    done = []

    def fail(number: int) -> None:
        done.append(number)
        if number == 1:
            raise KeyError(number)

    torch.set_num_threads(2)
    with pytest.raises(KeyError):
        on_own_threads(fail, [0, 1, 2])
    assert sorted(done) == [0, 1, 2]


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


def test_openmp_is_told_before_torch_is_there() -> None:
    look = "import os, sys, reluformer; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    found = subprocess.run(
        [sys.executable, "-c", look], env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["1000", "False"]
