"""Random cases by Hypothesis, as many as a test of reliability is to have."""

from datetime import timedelta

from hypothesis import HealthCheck, settings

SLOWEST = timedelta(seconds=5)  # a case that takes longer hangs


def cases(count: int) -> settings:
    """So many examples, each of which must end soon; what they share may be a test's fixture."""
    return settings(
        max_examples=count,
        deadline=SLOWEST,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
