"""Random cases by Hypothesis, as many as a test of reliability is to have."""

import functools
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

SLOWEST = 5  # seconds of a core; a case that takes longer hangs


def cases(count: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """So many examples, each of which must end soon; what they share may be a test's fixture."""
    chosen = settings(
        max_examples=count,
        deadline=None,  # that would be by the clock, and the machine may have other work
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )

    def decorate(test: Any) -> Callable[..., Any]:
        case = test.hypothesis.inner_test

        @functools.wraps(case)
        def timed(*arguments: Any, **values: Any) -> None:
            started = time.process_time()
            case(*arguments, **values)
            assert time.process_time() - started < SLOWEST

        test.hypothesis.inner_test = timed
        return chosen(test)

    return decorate
