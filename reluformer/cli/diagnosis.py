"""One line for every way in which a command line or a configuration can be wrong."""


def check_arguments(arguments: list[str]) -> None:
    """Refuse options and words that are neither an option of Hydra nor a setting."""


def explain(error: Exception, name: str, overrides: list[str]) -> str:
    """The error in one line, with the nearest names where one was misspelt."""
    return " ".join(str(error).split()) or " ".join(str(error.__cause__).split())
