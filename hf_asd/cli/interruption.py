"""Ctrl+C ends every command with one line."""

import signal
import threading


class Interruption:
    """
    Notices Ctrl+C while a command runs: also where the code that it interrupts turns `KeyboardInterrupt` into another
    error, as imports may do.

    Attributes:
        happened (`bool`): whether Ctrl+C was pressed.
    """

    def __init__(self):
        self.happened = False
        self._installed = False

    def __enter__(self) -> "Interruption":
        # Not where somebody chose otherwise, as the shell does for commands in the background.
        is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._notice)
            self._installed = True
        return self

    def __exit__(self, *_) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _notice(self, *_) -> None:
        self.happened = True
        raise KeyboardInterrupt
