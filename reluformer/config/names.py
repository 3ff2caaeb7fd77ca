"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?` with the known names most like this one, or nothing."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if len(name) >= 3:
        close += [one for one in names if name in one and one not in close]
    return f"; did you mean {' or '.join(close[:3])}?" if close else ""
