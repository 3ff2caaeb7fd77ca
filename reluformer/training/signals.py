"""Ctrl-C and SIGTERM as a request to finish the current update, save and leave."""

import signal
from types import FrameType, TracebackType

from reluformer.console import console


class StopRequest:
    """Within the block, the first SIGINT or SIGTERM sets `wanted`; a second one acts at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

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
        console.print(f"{name}: finishing this update, then saving (again to leave at once)")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
