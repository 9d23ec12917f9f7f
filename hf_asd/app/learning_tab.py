"""The tab that learns a machine from normal recordings."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from ..detection.config import DetectorConfig
from . import views
from .checking_tab import CheckingTab
from .learning import Source, Training, learn, listen, read_source
from .normal_recordings import NormalRecordings
from .parts import CLIP_JS, TABLE_JS, check_count, error_text, file_drop, folder_box, html, named_folder
from .sessions import LEARNING, Session, Sessions
from .settings import AppSettings
from .work import Stopped, Work


# Finds the recordings to learn from.
Read = Callable[[Session], Source]


class LearningTab:
    """
    Normal recordings go in at the top; below are what is bad or stands out, a recording to listen to, and the result.

    Args:
        sessions ([`Sessions`]): all open pages.
        settings ([`AppSettings`]): what is offered.
        checking ([`CheckingTab`]): decides with what was learned, if the user wants that.
        title (`gr.HTML`): names the machine.
    """

    def __init__(self, sessions: Sessions, settings: AppSettings, checking: CheckingTab, title: gr.HTML):
        self.sessions, self.settings, self.checking, self.title = sessions, settings, checking, title
        with gr.Row():
            self.files = file_drop("Normal recordings")
            with gr.Column(min_width=300):
                self.machine = gr.Textbox(label="Name of the machine", placeholder="fan 3", max_lines=1)
                self.percent = gr.Number(
                    label="Accepted false alarms in percent",
                    value=100 * DetectorConfig.false_alarm_rate,
                    minimum=0.1,
                    maximum=50,
                    step=0.5,
                )
        if settings.reads_folders:
            self.folder, self.learn_folder = folder_box("/home/me/my_fan", "Learn from the folder", "primary")
        self.status = html(views.status(""))
        self.stop = gr.Button("Stop", variant="stop", visible=False, elem_classes=["narrow"])
        self.table = html(views.learned(None, set(), str), TABLE_JS)
        self.clip = html("", CLIP_JS)
        with gr.Row(visible=False) as self.next:
            self.again = gr.Button("Learn again without the marked")
            self.use = gr.Button("Check recordings with it")
            self.download = gr.DownloadButton("Download the detector (ZIP)", variant="primary")
        self._results = [self.status, self.stop, self.table, self.clip, self.next, self.download]
        self._listen_to_events()

    def _listen_to_events(self) -> None:
        options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        busy: dict[str, Any] = options | {"concurrency_limit": 2}
        given = [self.machine, self.percent]
        self.files.upload(self.on_files, [self.files, *given], [*self._results, self.files], **busy)
        if self.settings.reads_folders:
            gr.on(
                [self.learn_folder.click, self.folder.submit],
                self.on_folder,
                [self.folder, *given],
                self._results,
                **busy,
            )
        self.again.click(self.on_again, [self.percent], self._results, **busy)
        self.stop.click(self.on_stop, None, self.status, queue=False, **options)
        self.table.select(self.on_choose, None, self.clip, **options)
        self.table.input(self.on_mark, None, None, queue=False, **options)
        used = [self.status, self.title, *self.checking.changed_by_learning]
        self.use.click(self.on_use, None, used, **options)

    def on_files(self, files: list[str] | None, machine: str, percent: float, request: gr.Request) -> Iterator[list]:
        """Recordings were dropped."""

        def read(session: Session) -> Source:
            check_count(len(files or []), self.settings)
            return read_source(session.take_together(files or [], "learned"), machine.strip() or "machine")

        for update in self._learn(request, read, percent):
            yield [*update, None]

    def on_folder(self, text: str, machine: str, percent: float, request: gr.Request) -> Iterator[list]:
        """A folder was named."""
        yield from self._learn(request, lambda _: read_source(named_folder(text), machine.strip() or None), percent)

    def on_again(self, percent: float, request: gr.Request) -> Iterator[list]:
        """The same recordings again, without those that were marked."""

        def read(session: Session) -> Source:
            if session.training is None:
                raise ValueError("There is nothing to learn from; give normal recordings first.")
            return session.training.source

        yield from self._learn(request, read, percent, keep_marks=True)

    def _learn(self, request: gr.Request, read: Read, percent: float, keep_marks: bool = False) -> Iterator[list]:
        """Learns; yields new values of all results a few times a second."""
        session = self.sessions.of(request.session_hash)
        left_out = set(session.left_out) if keep_marks else set()
        message, is_error, work = "", False, None

        def run(work: Work) -> Training:
            work.tell("Looking at the recordings", 0.0)
            source = read(session)
            return learn(source, left_out, percent / 100, session.folder / "result", work)

        try:
            work = session.start(LEARNING, run)
            for _ in work.wait():
                yield self._running(work)
            session.training, session.left_out = work.result(), left_out
            message = "Done. See what stands out, then check recordings with it or download it."
        except Stopped:
            message = "Stopped; nothing was changed."
        except Exception as error:  # the page shows all of them
            message, is_error = error_text(error), True
        session.finish(LEARNING, work)
        yield self._update(session, message, is_error)

    def _running(self, work: Work) -> list:
        others = [gr.skip() for _ in range(4)]
        return [views.status(work.text, work.share, is_running=True), gr.Button(visible=True), *others]

    def _update(self, session: Session, message: str, is_error: bool) -> list:
        """New values of all results."""
        training = session.training
        return [
            views.status(session.plain(message), is_error=is_error),
            gr.Button(visible=False),
            views.learned(training, session.left_out, session.plain),
            "",
            gr.Row(visible=training is not None),
            gr.DownloadButton(value=None if training is None else str(training.archive)),
        ]

    def on_stop(self, request: gr.Request) -> str:
        """The user wants the work to stop."""
        self.sessions.of(request.session_hash).stop(LEARNING)
        return views.status("Stopping ...")

    def on_choose(self, event: gr.EventData, request: gr.Request) -> str:
        """A normal recording was chosen."""
        session = self.sessions.of(request.session_hash)
        if session.training is None or not 0 <= event._data["clip"] < len(session.training.clips):
            return ""
        clip = session.training.clips[event._data["clip"]]
        return views.heard(clip, listen(session.training, clip, session.learning_volumes))

    def on_mark(self, event: gr.EventData, request: gr.Request) -> None:
        """A recording was marked to be left out, or not any more."""
        session = self.sessions.of(request.session_hash)
        if session.training is not None and 0 <= event._data["clip"] < len(session.training.clips):
            change = session.left_out.add if event._data["left_out"] else session.left_out.discard
            change(session.training.clips[event._data["clip"]].clip_id)

    def on_use(self, request: gr.Request) -> list:
        """What was learned decides from now on, on this page."""
        session = self.sessions.of(request.session_hash)
        training, unchanged = session.training, [gr.skip() for _ in self.checking.changed_by_learning]
        if training is None:
            return [views.status("Nothing was learned yet.", is_error=True), gr.skip(), *unchanged]
        session.use(training.detector, NormalRecordings.of_rows(training.source.rows))
        message = "Recordings are now checked with this detector: see the tab “Check”."
        title = views.title(", ".join(training.detector.machines))
        return [views.status(message), title, *self.checking.after_learning(session)]
