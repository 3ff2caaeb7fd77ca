"""Commands run in this process, those of data_prep/ among them."""

import sys
from pathlib import Path

from commands import run

__all__ = ["run"]

sys.path.insert(0, str(Path(__file__).parents[2] / "data_prep"))
