"""Range checks that settings share; each names the setting, the rule and the value."""

from collections.abc import Sequence

from reluformer.errors import UserError

MOST = 10**15  # beyond, numbers are a slip of the keyboard, and overflow somewhere
MOST_THREADS = 1024
LONGEST_NAME = 200  # bytes; file systems allow 255, with what is added to it


def check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"`{name}` must be greater than 0, but is {value}")
    check_most(name, value, MOST)


def check_not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise UserError(f"`{name}` must be 0 or greater, but is {value}")
    check_most(name, value, MOST)


def check_most(name: str, value: float, most: float) -> None:
    if not value <= most:
        raise UserError(f"`{name}` must be at most {most:,}, but is {value}")


def check_threads(value: int | None, name: str = "threads") -> None:
    """None stands for as many as there are cores."""
    if value is not None:
        check_positive(name, value)
        check_most(name, value, MOST_THREADS)


def check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"`{name}` must lie in [0, 1), but is {value}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"`{name}` must be one of {', '.join(choices)}, but is {value!r}")


def check_name(name: str, value: str) -> None:
    """What becomes the name of a folder or file must not lead out of the one that it is put in."""
    fits = value.isprintable() and len(value.encode(errors="replace")) <= LONGEST_NAME
    if not value or "/" in value or value in (".", "..") or not fits:
        raise UserError(
            f"`{name}` must be one folder's name, without `/`, in one line of {LONGEST_NAME} bytes "
            f"at most, but is {value!r}"
        )
