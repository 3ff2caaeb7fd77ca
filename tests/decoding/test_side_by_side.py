"""Batches on threads of their own: in order, one thread each, and errors that come through."""

from threading import Barrier, get_ident

import pytest
import torch

from reluformer.decoding.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr("reluformer.decoding.side_by_side.available_cores", lambda: 2)


def test_in_order_each_on_one_thread(torch_threads):
    torch_threads(2)
    both = Barrier(2, timeout=30)  # passes only two that run at the same time

    def work(item):
        both.wait()
        return item, torch.get_num_threads(), get_ident()

    items, threads, workers = zip(*side_by_side(work, range(6), CPU), strict=True)
    assert items == tuple(range(6))
    assert set(threads) == {1}
    assert len(set(workers)) == 2
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("threads", "count", "device"), [(2, 1, "cpu"), (1, 4, "cpu"), (2, 4, "cuda")]
)
def test_one_after_the_other_where_threads_would_be_idle(torch_threads, threads, count, device):
    torch_threads(threads)

    def work(_):
        return torch.get_num_threads(), get_ident()

    found = side_by_side(work, range(count), torch.device(device))
    assert list(found) == [(threads, get_ident())] * count


def test_no_more_threads_than_cores(torch_threads):
    torch_threads(8)
    workers = set(side_by_side(lambda _: get_ident(), range(20), CPU))
    assert len(workers) <= 2
    assert get_ident() not in workers


def test_errors_end_it_and_give_the_threads_back(torch_threads):
    torch_threads(2)

    def work(item):
        if item == 1:
            raise ValueError(item)
        return item

    results = side_by_side(work, range(1000), CPU)
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        list(results)
    assert torch.get_num_threads() == 2
