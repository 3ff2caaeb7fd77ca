"""The one kind of error that is the user's to mend, and how others are told from it."""

# What errors say that have no class of their own.
OUT_OF_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "bad_alloc"),
    *("out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
)


def one_line(text: str) -> str:
    """The text with line ends and whatever else is not printable spelt out."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class UserError(Exception):
    """Bad input or settings: one line that says what is wrong, where, and what to do about it.

    Commands print it as `error: ...` and exit with status 2; anything else that escapes a
    command is a defect of the toolkit.
    """

    status = 2

    def __str__(self) -> str:
        """One line whatever names it holds, without what a terminal would take for commands."""
        return one_line(super().__str__())


class TrainingFailedError(UserError):
    """Training could not go on, though its settings are valid; exit status 3.

    The numbers were not finite, memory did not suffice, or another process was lost. What was
    saved before is whole.
    """

    status = 3


def is_out_of_memory(error: BaseException) -> bool:
    """Whoever had none: PyTorch has no class of its own for that on a CPU."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
