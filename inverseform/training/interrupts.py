"""SIGTERM and SIGINT, heeded once the step that is under way is whole."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupts:
    """Remembers a signal while it is entered; the handlers of before come back."""

    def __enter__(self) -> "Interrupts":
        self.signal: int | None = None
        self.before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if exception[0] is None:
            # It came when the last step was done already.
            self.leave()

    def flags(self) -> list[float]:
        """1 for each of SIGNALS that came, else 0: what adds over processes."""
        return [float(self.signal == number) for number in SIGNALS]

    def agree(self, flags: list[float]) -> bool:
        """Take over what the processes together had flagged; whether that is something."""
        flagged = [number for number, flag in zip(SIGNALS, flags, strict=True) if flag]
        # One that came to this process since then is left for the next step, at which all will know of it.
        self.signal = flagged[0] if flagged else self.signal
        return bool(flagged)

    def leave(self) -> None:
        """Do now what the signal asked for."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal:
            # How a shell tells of a death by signal.
            raise SystemExit(128 + self.signal)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
