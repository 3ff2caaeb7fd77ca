"""A command's name, and the examples in its docstring."""

import inspect
import re
from collections.abc import Callable
from typing import Any


def program(name: str) -> str:
    """What one types to run the command."""
    return f"python {name}.py" if "/" in name else f"reluformer-{name}"


def description_and_examples(function: Callable[[Any], None]) -> tuple[str, str]:
    """A command's docstring, split where its `Examples:` begin."""
    text = inspect.getdoc(function) or ""
    description, _, examples = text.partition("\nExamples:\n")
    return description.strip(), inspect.cleandoc(examples)


def example_of(key: str, function: Callable[[Any], None]) -> str:
    """`key=value` as the first example gives it."""
    _, examples = description_and_examples(function)
    match = re.search(rf"(?<!\S){re.escape(key)}=\S+", examples)
    return match[0] if match else f"{key}=..."
