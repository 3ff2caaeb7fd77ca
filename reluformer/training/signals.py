"""Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP as a request to finish the current update, save and leave."""

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType

# SIGUSR1 is what Slurm can be told to send some time before it ends a job. Windows has none.
# SIGHUP comes when a terminal or a connection is closed, unless nohup has it ignored.
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
]


class Stopped(Exception):  # noqa: N818 - no error
    """What is done now can be done again after the stop."""


class StopRequest:
    """Within the block, the first of the signals sets `wanted`; a second one acts at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS:
            if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._receive)
        return self

    def check(self) -> None:
        """Raise Stopped where a stop is wanted."""
        if self.wanted:
            raise Stopped

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        self._restore()
        name = signal.Signals(number).name
        told = f"{name}: finishing this update, then saving (again to leave at once)\n"
        with suppress(OSError):  # of nobody who reads it any more, as `tee` at the same Ctrl-C
            os.write(2, told.encode())

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
