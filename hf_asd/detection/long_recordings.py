"""Decisions about recordings that are judged in windows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..audio.clock import Span, span_text
from ..audio.windows import WindowRule
from ..options import check_option
from .config import WINDOW_LENGTHS, WindowSeconds


if TYPE_CHECKING:
    from .decision import Decision
    from .memory_bank import MemoryBank


# Training recordings of at least this length are cut by default: nobody means them as one clip.
LONG_SECONDS, TRAINING_WINDOW_SECONDS = 60.0, 10.0


def training_rule(window_seconds: WindowSeconds) -> WindowRule | None:
    """
    Which training recordings are cut into windows.

    Args:
        window_seconds (`float`, `"auto"` or `None`): length of a window; recordings of at least twice this length are
            cut. `"auto"` cuts recordings of 60 s or more into windows of 10 s, `None` cuts none.

    Raises:
        ValueError: the length is not accepted.
    """
    check_option("window_seconds", window_seconds, WindowSeconds, WINDOW_LENGTHS)
    if window_seconds == "auto":
        return WindowRule(TRAINING_WINDOW_SECONDS, LONG_SECONDS)
    return None if window_seconds is None else WindowRule(float(window_seconds), 2 * float(window_seconds))


def scoring_rule(window_seconds: WindowSeconds, clip_seconds: float | None) -> WindowRule | None:
    """
    Which recordings of a machine are judged in windows.

    Args:
        window_seconds (`float`, `"auto"` or `None`): length of a window; recordings of at least twice this length are
            judged in windows. `"auto"`: the length of the training clips; `None`: whole recordings.
        clip_seconds (`float`, *optional*): median length of the machine's training clips, where it is known.

    Raises:
        ValueError: the length is not accepted.
    """
    check_option("window_seconds", window_seconds, WindowSeconds, WINDOW_LENGTHS)
    seconds = clip_seconds if window_seconds == "auto" else window_seconds
    return None if seconds is None else WindowRule(float(seconds), 2 * float(seconds))


def recording_p_value(p_values: np.ndarray) -> float:
    """
    The p-value of a recording from those of its windows: the smallest over `r` of `W / r` times the `r`-th smallest of
    `W` (R. J. Simes 1986). A fault of one window counts, and so does a slight one of all.

    Args:
        p_values (`np.ndarray` of shape `(windows,)`): of the windows.
    """
    count = len(p_values)
    return float(min(1.0, (np.sort(p_values) * count / np.arange(1, count + 1)).min()))


def decide_recording(
    bank: "MemoryBank", decisions: Sequence["Decision"], spans: Sequence[Span | None]
) -> tuple["Decision", int]:
    """
    The decision about a recording from those about its windows.

    The accepted rate of false alarms holds for the whole recording, however long it is: its `p_value` is corrected for
    the number of windows, and its `anomaly_score` is the score of a single clip with this p-value, so that it is
    compared with the threshold of the machine, and recordings of all lengths with one another. Windows that are unfit
    for a decision take no part.

    Args:
        bank ([`~hf_asd.detection.memory_bank.MemoryBank`]): of the machine.
        decisions (`Sequence[Decision]`): about the windows.
        spans (`Sequence[tuple[float, float] | None]`): of the windows; a single `None` for a whole recording.

    Returns:
        `tuple[Decision, int]`: the decision, and the place of its worst window.
    """
    if spans[0] is None:
        return decisions[0], 0
    usable = [place for place, decision in enumerate(decisions) if decision.abstain_reason is None]
    scores = np.array([decision.anomaly_score for decision in decisions])
    among = usable or list(range(len(decisions)))
    worst = among[int(np.argmax(scores[among]))]
    p_value = recording_p_value(bank.tail.p_values(scores[among]))
    score = bank.tail.score(p_value)
    is_anomaly = score > bank.threshold if usable else None
    start, end = spans[worst] or (0.0, 0.0)
    unfit = f"all {len(decisions)} windows are unfit; {decisions[worst].abstain_reason}"
    decision = replace(
        decisions[worst],
        anomaly_score=score,
        z_score=float(bank.z_scores(np.array(score))),
        p_value=p_value,
        is_anomaly=is_anomaly,
        is_unusual=bool(bank.is_unusual(np.array(score))) if usable else None,
        num_normal_as_high=int(bank.num_as_high(np.array(score))),
        abstain_reason=None if usable else unfit,
        num_windows=len(decisions),
        num_unfit_windows=len(decisions) - len(usable),
        unfit_windows_reason=_unfit_reason(decisions, spans) if usable else None,
        worst_window_start_s=round(start, 3),
        worst_window_end_s=round(end, 3),
        worst_window_score=float(scores[worst]),
    )
    if is_anomaly is False and not decision.is_unusual:
        decision = replace(decision, reasons=None if decision.reasons is None else [], like_fault=None)
    return decision, worst


def _unfit_reason(decisions: Sequence["Decision"], spans: Sequence[Span | None]) -> str | None:
    """Why the first unfit window is unfit, and where it is; `None` where none is."""
    for decision, span in zip(decisions, spans, strict=True):
        if decision.abstain_reason is not None and span is not None:
            return f"{span_text(span)}: {decision.abstain_reason}"
    return None
