"""Means, intervals and significance against numbers worked out by hand."""

import math
from collections.abc import Callable

import pytest

from reluformer.comparison.rows import (
    Difference,
    Result,
    document_numbers,
    rows_of,
    seed_interval,
    student,
)

Make = Callable[..., Result]


def test_the_interval_of_a_mean_over_seeds() -> None:
    """1, 2 and 3 deviate by 1 from their mean; t for two degrees of freedom is 4.303."""
    assert seed_interval([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3))
    assert seed_interval([10.0, 12.0]) == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2))
    assert seed_interval([5.0]) is None


@pytest.mark.parametrize(("freedom", "point"), [(10, 2.228), (11, 2.201), (30, 2.042), (120, 1.98)])
def test_students_t_as_in_printed_tables(freedom: int, point: float) -> None:
    assert student(freedom) == pytest.approx(point, abs=0.003)


def test_seeds_of_one_system_are_one_row(result: Make) -> None:
    runs = [
        result("relu", 1, 30.0, parameters=100.0),
        result("softmax", 1, 20.0, parameters=90.0),
        result("relu", 2, 34.0, parameters=100.0),
    ]
    relu, softmax = rows_of(runs, [], baseline=None)
    assert (relu.label, relu.seeds) == ("relu", [1, 2])
    assert relu.numbers["bleu"] == 32.0
    assert relu.numbers["chrf"] == 52.0
    assert relu.numbers["bleu_seeds"] == pytest.approx(12.706 * 2)
    assert relu.numbers["parameters"] == 100.0
    assert (softmax.label, softmax.numbers["bleu_seeds"]) == ("softmax", None)


def test_a_number_that_a_run_lacks_is_left_out_of_the_mean(result: Make) -> None:
    runs = [result("relu", 1, 30.0, speed=5.0), result("relu", 2, 30.0)]
    (row,) = rows_of(runs, [], baseline=None)
    assert row.numbers["speed"] == 5.0


def test_significance_is_that_of_the_worst_pair(result: Make) -> None:
    runs = [result(label, seed, 30.0) for seed in (1, 2, 3) for label in ("base", "relu")]
    pairs = [(1, 1.0, 0.001), (2, 0.5, 0.2), (3, 1.5, 0.04)]
    differences = [Difference("relu", seed, "bleu", value, p) for seed, value, p in pairs]
    base, relu = rows_of(runs, differences, baseline="base")
    assert relu.numbers["bleu_difference"] == 1.0
    assert relu.numbers["bleu_p"] == 0.2
    assert (relu.numbers["bleu_significant"], relu.numbers["bleu_pairs"]) == (2, 3)
    assert "bleu_p" not in base.numbers
    assert "chrf_p" not in relu.numbers


def test_what_documents_have_besides() -> None:
    counts = [
        {"kind": "name", "words": "1-7", "right": 3, "wrong": 1, "neither": 0},
        {"kind": "name", "words": "64-127", "right": 0, "wrong": 1, "neither": 1},
        {"kind": "term", "words": "64-127", "right": 1, "wrong": 1, "neither": 0},
    ]
    scores = {"documents": {"bleu": 40.0}, "detokenised": {"bleu": 30.0}, "probes": counts}
    found = document_numbers(scores, {"length": 512, "windows": 8, "repaired": 2})
    assert found == {
        "sentence_bleu": 30.0,
        "window_length": 512,
        "windows": 8,
        "repaired": 0.25,
        "probes_right/all": 0.5,
        "probes_neither/all": 0.125,
        "probes/all": 8,
        "probes_right/name": 0.5,
        "probes_neither/name": 1 / 6,
        "probes/name": 6,
        "probes_right/term": 0.5,
        "probes_neither/term": 0.0,
        "probes/term": 2,
        "probes_right/1-7": 0.75,
        "probes_neither/1-7": 0.0,
        "probes/1-7": 4,
        "probes_right/64-127": 0.25,
        "probes_neither/64-127": 0.25,
        "probes/64-127": 4,
    }
    plain = {"documents": None, "detokenised": {"bleu": 30.0}, "probes": []}
    assert document_numbers(plain, {"windows": 0, "repaired": 0}) == {}
