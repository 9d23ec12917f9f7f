"""What one open page holds. Nothing of it is shared with another page, and all of it is deleted when it is closed."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection.detector import AnomalyDetector
from .judging import JudgedClip
from .normal_recordings import NormalRecordings
from .work import Result, Work


if TYPE_CHECKING:
    from .learning import Training
    from .pictures import SoundView


CHECKING, LEARNING = "check", "learn"  # the tabs


@dataclass
class Session:
    """
    Args:
        folder (`Path`): files of this page alone.
        detector ([`~hf_asd.AnomalyDetector`], *optional*): the one that decides; another one after learning.
        normal ([`NormalRecordings`]): those that it learned from.
        clips (`list[JudgedClip]`): what was checked, in its order.
        thresholds (`dict[str, float]`): by machine where the slider was moved.
        shown (`int`, *optional*): the number of the clip that is shown.
        sounds (`tuple`, *optional*): that clip as it is shown and played, and the nearest normal recording.
        volumes (`dict[str, float]`): by machine the factor for everything that is played.
        training ([`Training`], *optional*): what was learned.
        left_out (`set[str]`): the `clip_id` of each of its recordings that is marked to be left out.
        learning_volumes (`dict[str, float]`): as `volumes`, for normal recordings.
        works (`dict[str, list[Work]]`): by tab what runs now.
    """

    folder: Path
    detector: AnomalyDetector | None
    normal: NormalRecordings
    clips: list[JudgedClip] = field(default_factory=list)
    thresholds: dict[str, float] = field(default_factory=dict)
    shown: int | None = None
    sounds: "tuple[JudgedClip, SoundView | None, SoundView | None] | None" = None
    volumes: dict[str, float] = field(default_factory=dict)
    training: "Training | None" = None
    left_out: set[str] = field(default_factory=set)
    learning_volumes: dict[str, float] = field(default_factory=dict)
    works: dict[str, list[Work]] = field(default_factory=dict)
    _num_taken: int = 0

    def start(self, tab: str, run: Callable[[Work], Result]) -> Work[Result]:
        """Starts work of a tab."""
        work = Work(run)
        self.works.setdefault(tab, []).append(work)
        return work

    def finish(self, tab: str, work: Work | None) -> bool:
        """Forgets work that is done; whether other work of the tab still runs."""
        running = self.works.get(tab, [])
        if work in running:
            running.remove(work)
        return bool(running)

    def stop(self, tab: str) -> None:
        """Stops all work of a tab."""
        for work in self.works.get(tab, ()):
            work.stop()

    def take_together(self, files: Sequence[str], place: str) -> Path:
        """As [`~Session.take`], into one folder, which is returned; a second file of a name gets a number."""
        self._num_taken += 1
        folder = self.folder / place / str(self._num_taken)
        folder.mkdir(parents=True)
        for number, file in enumerate(files):
            path = folder / Path(file).name
            os.link(file, path if not path.exists() else path.with_stem(f"{path.stem} ({number})"))
        return folder

    def plain(self, text: str) -> str:
        """A message without the names of this page's folders, which say nothing to the user."""
        return re.sub(rf"{re.escape(str(self.folder))}/\w+/\d+/?", "", text)

    def take(self, files: Sequence[str], place: str) -> list[tuple[str, Path]]:
        """
        Keeps uploaded files in the folder of this page: the server deletes its own copies soon.

        Args:
            files (`Sequence[str]`): where the server has them; names without folders, as the page sent them.
            place (`str`): a folder for them within that of this page.

        Returns:
            `list[tuple[str, Path]]`: the name and the new place of each.
        """
        taken = []
        for file in files:
            self._num_taken += 1
            path = self.folder / place / str(self._num_taken) / Path(file).name
            path.parent.mkdir(parents=True)
            os.link(file, path)
            taken.append((path.name, path))
        return taken

    def use(self, detector: AnomalyDetector, normal: NormalRecordings) -> None:
        """Checks with another detector from now on; what the old one decided is forgotten."""
        self.detector, self.normal = detector, normal
        self.forget()

    def forget(self) -> None:
        """Forgets what was checked, and stops what is being checked."""
        self.stop(CHECKING)
        self.clips, self.thresholds, self.volumes, self.shown, self.sounds = [], {}, {}, None, None
        shutil.rmtree(self.folder / "checked", ignore_errors=True)


class Sessions:
    """
    All open pages.

    Args:
        folder (`Path`): holds a folder for each.
        detector ([`~hf_asd.AnomalyDetector`], *optional*), normal ([`NormalRecordings`]): what a page begins with.
    """

    def __init__(self, folder: Path, detector: AnomalyDetector | None, normal: NormalRecordings):
        self._folder, self._detector, self._normal = folder, detector, normal
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._num_opened = 0

    def of(self, name: str | None) -> Session:
        """
        The page of a name that the server gave it; a new one where it is not known.

        Raises:
            ValueError: a request that comes from no page.
        """
        if not name:
            raise ValueError("this request does not come from a page of the app.")
        with self._lock:
            if name not in self._open:
                self._num_opened += 1
                folder = self._folder / str(self._num_opened)  # names of pages come from browsers
                folder.mkdir()
                self._open[name] = Session(folder, self._detector, self._normal)
            return self._open[name]

    def close(self, name: str | None) -> None:
        """Stops the work of a page and deletes its files."""
        with self._lock:
            session = self._open.pop(name or "", None)
        if session is not None:
            for tab in session.works:
                session.stop(tab)
            shutil.rmtree(session.folder, ignore_errors=True)
