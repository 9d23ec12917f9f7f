"""The parts of the page in HTML. The templates escape everything that comes from recordings and their names."""

import base64
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..detection.decision import Decision
from ..detection.decision_words import ANOMALY, NO_DECISION, NORMAL, UNUSUAL, decision_word, reason_texts, verdict
from ..detection.memory_bank import MemoryBank
from .judging import JudgedClip, at_threshold, decisions_as_csv, num_false_alarms
from .learning import LearnedClip, Training
from .pictures import SoundView, score_pictures, sound_views
from .sessions import Session


URGENCY = {ANOMALY: 0, UNUSUAL: 1, NO_DECISION: 2, NORMAL: 3}
NEAREST_HINTS = {
    True: "Its sound is not part of the detector. The file was not found; it may have been moved.",
    False: "Its sound is not part of the detector. To see and hear it here, start the app with --normal and the "
    "folder that the detector was fitted on.",
}
NEAREST_HINT_IN_SPACE = "Its sound is not part of the detector, so it cannot be played here."


@cache
def _parts() -> Any:
    environment = Environment(
        loader=PackageLoader("hf_asd.app", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("parts.html").module


def title(names: str) -> str:
    """The title, with the names of the machines."""
    return _parts().title(names)


def status(text: str, share: float = 0.0, *, is_error: bool = False, is_running: bool = False) -> str:
    """What is being done, or what went wrong."""
    return _parts().status(text, share, is_error, is_running)


def decided(session: Session, clip: JudgedClip) -> Decision | None:
    """The decision about a recording at the threshold that is chosen on the page."""
    if clip.decision is None or session.detector is None:
        return None
    machine = clip.decision.machine
    return at_threshold(clip.decision, session.detector.machines[machine], session.thresholds.get(machine))


def checked(session: Session | None) -> str:
    """The table of all recordings that were checked; `None` for a page that was just opened."""
    if session is None:
        return _parts().checked("", [], None, None, False)
    rows, counts, csv_rows = [], Counter(), []
    for number, clip in enumerate(session.clips):
        row: dict[str, Any] = {"number": number, "name": clip.name, "error": clip.error, "machine": ""}
        decision = decided(session, clip)
        if decision is not None:
            word = decision_word(decision.to_dict())
            counts[word] += 1
            csv_rows.append((clip.name, decision))
            row |= {"word": word, "urgency": URGENCY[word], "machine": decision.machine}
            row |= {"score": decision.anomaly_score, "threshold": decision.threshold, "p_value": decision.p_value}
        rows.append(row)
    csv = base64.b64encode(decisions_as_csv(csv_rows).encode("utf-8", "backslashreplace")).decode()
    several = session.detector is not None and len(session.detector.machines) > 1
    link = f"data:text/csv;charset=utf-8;base64,{csv}" if csv_rows else None
    return _parts().checked(_summary(counts, len(rows)), rows, session.shown, link, several)


def _summary(counts: Counter, whole: int) -> str:
    """All decisions in one sentence."""
    anomalies, is_one = counts[ANOMALY], whole == 1
    if is_one:
        words = {ANOMALY: "is an anomaly", NORMAL: "is normal", UNUSUAL: f"is {UNUSUAL}"}
        found = next(iter(counts), None)
        return f"The recording {words.get(found, 'gets no decision') if found else 'cannot be used'}"
    text = f"{anomalies or 'None'} of {whole} recordings {'is an anomaly' if anomalies == 1 else 'are anomalies'}"
    if counts[UNUSUAL]:
        text += f", {counts[UNUSUAL]} unusual"
    if counts[NO_DECISION]:
        text += f", {counts[NO_DECISION]} without a decision"
    unusable = whole - counts.total()
    return text + (f", {unusable} cannot be used" if unusable else "")


def shown_clip(session: Session, in_space: bool) -> str:
    """The recording that was chosen: verdict, reasons, pictures and sound."""
    if session.shown is None or session.detector is None:
        return ""
    clip = session.clips[session.shown]
    decision = decided(session, clip)
    if decision is None:
        return _parts().clip(clip.name, clip.error, "", "", [], "", None, None, {}, "", "")
    if session.sounds is None or session.sounds[0] is not clip:
        both = sound_views(session.detector, clip, decision, session.normal, session.volumes)
        session.sounds = (clip, *both)
    sounds, scores = session.sounds[1:], score_pictures(session.detector, decision)
    plain = decision.to_dict()
    word = decision_word(plain)
    # Without a decision the verdict says why.
    reasons = reason_texts(plain) if decision.reasons and decision.abstain_reason is None else []
    note = ""
    if word == ANOMALY and not reasons:
        note = "Reasons are given for recordings above the detector's own threshold."
    hint = NEAREST_HINT_IN_SPACE if in_space else NEAREST_HINTS[bool(session.normal.paths)]
    return _parts().clip(
        clip.name, "", word, verdict(plain), reasons, note, *sounds, scores, decision.nearest_clip_id, hint
    )


def threshold(bank: MemoryBank, value: float) -> str:
    """What a threshold would mean for the normal recordings."""
    what = "normal recordings" if bank.recordings is None else "windows of normal recordings"
    count, is_own = num_false_alarms(bank, value), value == bank.threshold
    return _parts().threshold(count, len(bank.normal_scores), what, value, is_own)


def learned(training: Training | None, chosen: set[str], plain: Callable[[str], str]) -> str:
    """
    What was learned, and all recordings with what stands out.

    Args:
        training ([`Training`], *optional*): what was learned.
        chosen (`set[str]`): the `clip_id` of each recording that is marked to be left out.
        plain (`Callable[[str], str]`): makes messages readable.
    """
    machines = []
    for name, bank in training.detector.machines.items() if training is not None else ():
        count = bank.num_recordings
        clips = f"{count} recording{'s' * (count != 1)}"
        machines.append({"name": name, "clips": clips, "threshold": bank.threshold, "promise": bank.promise})
    bad = [] if training is None else [plain(line) for line in [*training.source.problems, *training.skipped]]
    understood = [] if training is None else [plain(line) for line in training.source.summary]
    return _parts().learned(training, machines, chosen, bad, understood)


def heard(clip: LearnedClip, view: SoundView | None) -> str:
    """One normal recording to look at and listen to."""
    return _parts().heard(clip.clip_id, view)
