"""The tab that checks recordings."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..data.folder import read_folder
from ..data.schema import undecoded_audio
from . import views
from .judging import JudgedClip, judge
from .parts import CLIP_JS, TABLE_JS, check_count, error_text, file_drop, folder_box, html, named_folder
from .sessions import CHECKING, Session, Sessions
from .settings import AppSettings
from .work import Stopped, Work


NO_DETECTOR = "There is no detector yet. Learn a machine first."


class CheckingTab:
    """
    Recordings go in at the top; below are the table of verdicts, the threshold, and the recording that is shown.

    Args:
        sessions ([`Sessions`]): all open pages.
        settings ([`AppSettings`]): what is offered.
    """

    def __init__(self, sessions: Sessions, settings: AppSettings):
        self.sessions, self.settings = sessions, settings
        machines = list(settings.detector.machines) if settings.detector is not None else []
        self.machine = gr.Dropdown(
            machines,
            value=machines[0] if machines else None,
            label="Machine that was recorded",
            visible=len(machines) > 1,
        )
        with gr.Row():
            self.files = file_drop("Recordings")
            self.microphone = gr.Audio(
                sources=["microphone"],
                type="filepath",
                label="Record one here",
                format=None,
                min_width=300,
                buttons=[],
            )
        if settings.reads_folders:
            self.folder, self.check_folder = folder_box("/home/me/new", "Check the folder", "secondary")
        self.status = html(views.status(""))
        self.stop = gr.Button("Stop", variant="stop", visible=False, elem_classes=["narrow"])
        self.table = html(views.checked(None), TABLE_JS)
        self.clear = gr.Button("Remove all results", visible=False, size="sm", elem_classes=["narrow"])
        with gr.Column(visible=False) as self.threshold_group:
            self.slider = gr.Slider(
                label="What if the threshold were another one?",
                minimum=0,
                maximum=1,
                buttons=[],
                elem_classes=["threshold-slider"],
            )
            self.threshold = html()
            self.own_threshold = gr.Button("Back to the detector's own threshold", size="sm", elem_classes=["narrow"])
        self.clip = html("", CLIP_JS)
        self._results = [self.status, self.stop, self.clear, self.table, self.threshold_group, self.clip]
        self._slider = [self.slider, self.threshold]
        self._listen_to_events()

    def _listen_to_events(self) -> None:
        options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        busy: dict[str, Any] = options | {"concurrency_limit": 8}
        outputs = [*self._results, *self._slider]
        dropped = [self.files, self.machine]
        self.files.upload(self.on_files, dropped, [*outputs, self.files], trigger_mode="multiple", **busy)
        self.microphone.stop_recording(
            self.on_recorded, [self.microphone, self.machine], [*outputs, self.microphone], **busy
        )
        if self.settings.reads_folders:
            gr.on(
                [self.check_folder.click, self.folder.submit],
                self.on_folder,
                [self.folder, self.machine],
                outputs,
                **busy,
            )
        self.stop.click(self.on_stop, None, self.status, queue=False, **options)
        self.clear.click(self.on_clear, None, outputs, **options)
        self.table.select(self.on_choose, None, [self.table, self.clip], **options)
        # Also with the keyboard; what is moved on before an answer comes is not asked for.
        moved = [*self._results, self.threshold]
        self.slider.input(self.on_threshold, [self.slider, self.machine], moved, trigger_mode="always_last", **options)
        self.own_threshold.click(self.on_own_threshold, [self.machine], outputs, **options)
        self.machine.change(self.on_machine, [self.machine], self._slider, **options)

    def on_files(self, files: list[str] | None, machine: str | None, request: gr.Request) -> Iterator[list]:
        """Recordings were dropped."""

        def take(session: Session) -> list[tuple[str, Path]]:
            check_count(len(files or []), self.settings, len(session.clips))
            return session.take(files or [], "checked")

        for update in self._check(request, machine, take):
            yield [*update, None]

    def on_recorded(self, file: str | None, machine: str | None, request: gr.Request) -> Iterator[list]:
        """A recording was made."""

        def take(session: Session) -> list[tuple[str, Path]]:
            if file is None:
                raise ValueError("Nothing was recorded. Does the browser have a microphone, and may it use it?")
            return session.take([file], "checked")

        for update in self._check(request, machine, take):
            yield [*update, None]

    def on_folder(self, text: str, machine: str | None, request: gr.Request) -> Iterator[list]:
        """A folder was named."""

        def take(session: Session) -> list[tuple[str, Path]]:
            content = read_folder(named_folder(text), machine, on_bad_audio="skip", to_score=True)
            paths = [Path(audio["path"]) for audio in undecoded_audio(content.dataset["test"])]
            check_count(len(paths), self.settings, len(session.clips))
            for problem in content.summary.problems:
                name, _, why = problem.partition(": ")
                session.clips.append(JudgedClip(name, Path(name), None, why))
            return [(str(path), path) for path in paths]

        yield from self._check(request, machine, take)

    def _check(
        self, request: gr.Request, machine: str | None, take: Callable[[Session], Sequence[tuple[str, Path]]]
    ) -> Iterator[list]:
        """Decides about recordings; yields new values of all results a few times a second."""
        session = self.sessions.of(request.session_hash)
        detector = session.detector
        if detector is None:
            yield self._update(session, NO_DETECTOR, is_error=True)
            return
        machine = machine if machine in detector.machines else next(iter(detector.machines))
        before, clips, work, message, is_error = len(session.clips), session.clips, None, "", False
        try:
            files = take(session)
            work = session.start(CHECKING, lambda work: judge(detector, machine, files, work, clips))
            drawn = before
            for _ in work.wait():
                yield self._running(session, work, drawn)
                drawn = len(clips)
            work.result()
        except Stopped:
            message = f"Stopped after {len(clips) - before} recordings."
        except Exception as error:  # the page shows all of them
            message, is_error = error_text(error), True
        others_run = session.finish(CHECKING, work)
        if clips is not session.clips:  # they were removed meanwhile
            message = ""
        elif len(clips) > before:
            session.shown = _most_urgent(session, before)
        yield self._update(session, message, machine=machine, is_error=is_error, is_running=others_run)

    def _running(self, session: Session, work: Work, drawn: int) -> list:
        status = views.status(work.text, work.share, is_running=True)
        table = views.checked(session) if len(session.clips) > drawn else gr.skip()
        others = [gr.skip() for _ in range(4)]
        return [status, gr.Button(visible=True), gr.skip(), table, *others]

    def _update(
        self,
        session: Session,
        message: str = "",
        *,
        machine: str | None = None,
        is_error: bool = False,
        is_running: bool = False,
    ) -> list:
        """New values of all results."""
        has_clips = bool(session.clips)
        return [
            views.status(session.plain(message), is_error=is_error),
            gr.Button(visible=is_running),
            gr.Button(visible=has_clips),
            views.checked(session),
            gr.Column(visible=any(clip.decision for clip in session.clips)),
            views.shown_clip(session, self.settings.in_space),
            *self._slider_values(session, machine),
        ]

    def _slider_values(self, session: Session, machine: str | None) -> list:
        detector = session.detector
        if detector is None or machine not in detector.machines:
            return [gr.skip(), gr.skip()]
        bank = detector.machines[machine]
        value = session.thresholds.get(machine, bank.threshold)
        low, high = float(bank.normal_scores.min()), max(float(bank.normal_scores.max()), bank.threshold)
        digits = 2 - math.floor(math.log10(max(high - low, 1e-6)))
        step, high = 10.0**-digits, high + (high - low) / 4
        low, high, shown = (round(number, digits) for number in (low - step, high + step, value))
        return [gr.Slider(minimum=low, maximum=high, value=shown, step=step), views.threshold(bank, value)]

    def on_stop(self, request: gr.Request) -> str:
        """The user wants the work to stop."""
        self.sessions.of(request.session_hash).stop(CHECKING)
        return views.status("Stopping ...")

    def on_clear(self, request: gr.Request) -> list:
        """All results are removed, with the uploaded recordings."""
        session = self.sessions.of(request.session_hash)
        session.forget()
        return self._update(session)

    def on_choose(self, event: gr.EventData, request: gr.Request) -> list:
        """A recording of the table was chosen."""
        session = self.sessions.of(request.session_hash)
        number = event._data["clip"]
        if not 0 <= number < len(session.clips):
            return [views.checked(session), ""]
        session.shown = number
        return [views.checked(session), views.shown_clip(session, self.settings.in_space)]

    def on_threshold(self, value: float, machine: str | None, request: gr.Request) -> list:
        """The slider was moved."""
        session = self.sessions.of(request.session_hash)
        machine = _shown_machine(session, machine)
        if session.detector is None or machine is None:
            return [*self._update(session)[: len(self._results)], gr.skip()]
        session.thresholds[machine] = float(value)
        bank = session.detector.machines[machine]
        return [*self._update(session)[: len(self._results)], views.threshold(bank, float(value))]

    def on_own_threshold(self, machine: str | None, request: gr.Request) -> list:
        """Back to the detector's own threshold."""
        session = self.sessions.of(request.session_hash)
        machine = _shown_machine(session, machine)
        session.thresholds.pop(machine or "", None)
        return self._update(session, machine=machine)

    def on_machine(self, machine: str | None, request: gr.Request) -> list:
        """Another machine was chosen: the slider is about that one."""
        session = self.sessions.of(request.session_hash)
        return self._slider_values(session, _shown_machine(session, machine))

    def after_learning(self, session: Session) -> list:
        """New values of the machine and of all results when the page decides with another detector."""
        machines = list(session.detector.machines) if session.detector is not None else []
        dropdown = gr.Dropdown(choices=machines, value=machines[0] if machines else None, visible=len(machines) > 1)
        return [dropdown, *self._update(session, machine=machines[0] if machines else None)]

    @property
    def changed_by_learning(self) -> list:
        """The components that [`~CheckingTab.after_learning`] gives values for."""
        return [self.machine, *self._results, *self._slider]


def _shown_machine(session: Session, machine: str | None) -> str | None:
    """The machine that the threshold belongs to."""
    known = session.detector.machines if session.detector is not None else {}
    return machine if machine in known else next(iter(known), None)


def _most_urgent(session: Session, first: int) -> int:
    """The recording to look at first, among the new ones: an anomaly with the highest score, if there is one."""

    def urgency(number: int) -> tuple:
        decision = session.clips[number].decision
        if decision is None:
            return (-2, 0.0)
        return (-1 if decision.is_anomaly is None else int(decision.is_anomaly), decision.anomaly_score)

    return max(range(first, len(session.clips)), key=urgency)
