"""Work that takes long: it runs beside the page, says how far it is, and can be stopped."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar


Result = TypeVar("Result")
LOOK_EVERY_SECONDS = 0.2


class Stopped(Exception):
    """The user stopped the work."""


class Work(Generic[Result]):
    """
    Runs a function in a thread of its own.

    Args:
        run (`Callable[[Work], Result]`): the work; it calls [`~Work.tell`] often.

    Attributes:
        text (`str`): what is being done.
        share (`float`): how much of it is done, from 0 to 1.
    """

    def __init__(self, run: "Callable[[Work], Result]"):
        self.text, self.share = "", 0.0
        self._stop, self._done = threading.Event(), threading.Event()
        self._result: list[Result] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, args=[run], daemon=True).start()

    def _run(self, run: "Callable[[Work], Result]") -> None:
        try:
            self._result.append(run(self))
        except BaseException as error:  # raised again by `result`, where the page is
            self._error = error
        finally:
            self._done.set()

    def tell(self, text: str, share: float) -> None:
        """
        Says how far the work is.

        Raises:
            Stopped: the user wants it to stop.
        """
        if self._stop.is_set():
            raise Stopped
        self.text, self.share = text, share

    def stop(self) -> None:
        """Asks the work to stop; it does at its next [`~Work.tell`]."""
        self._stop.set()

    def wait(self) -> Iterator[None]:
        """Yields a few times a second until the work is done."""
        while not self._done.wait(LOOK_EVERY_SECONDS):
            yield

    def result(self) -> Result:
        """
        What the function returned.

        Raises:
            Stopped: it was stopped; or the error that it raised.
        """
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]
