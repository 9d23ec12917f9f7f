"""Ctrl+C ends every command with one line."""

import signal
import threading


class Interruption:
    """
    Notices Ctrl+C while a command runs: also where the code that it interrupts turns `KeyboardInterrupt` into another
    error, as imports may do.

    Args:
        ends_process (`bool`): whether the process ends with the command. Ctrl+C is then ignored from there on: what is
            left takes a moment, and its result would look like a failure.

    Attributes:
        happened (`bool`): whether Ctrl+C was pressed.
    """

    def __init__(self, ends_process: bool):
        self.happened = False
        self._handler_after = signal.SIG_IGN if ends_process else signal.default_int_handler
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
            signal.signal(signal.SIGINT, self._handler_after)

    def _notice(self, *_) -> None:
        self.happened = True
        raise KeyboardInterrupt
