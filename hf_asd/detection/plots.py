"""What a detector's figures show, from its decisions and normal clips."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from matplotlib.figure import Figure

from ..audio.clock import Span
from ..audio.reading import SAMPLING_RATE, DecodedClip, array_of, clip_from_array, is_stored
from ..audio.windows import read_span
from ..plotting.clip import ClipText, clip_figure
from ..plotting.scores import ScoreRow, score_figure
from ..plotting.spectrogram import BandMark, ClipImage, ScoreMap, level_limits, log_mel
from ..plotting.style import Theme, ThemeName, get_theme, styled
from .decision import Decision
from .decision_words import reason_texts, verdict
from .explanation.reasons import Reason
from .explanation.score_map import map_edges, map_scale, score_map, usual_range
from .long_recordings import WindowSeconds


if TYPE_CHECKING:
    from .detector import AnomalyDetector

SCORE_COLUMNS = ("machine", "anomaly_score", "is_anomaly")
CONDITION_NAMES = {"normal": "new, normal", "anomaly": "new, anomaly", "unknown": "new"}  # as labeled


def plot_clip(
    detector: "AnomalyDetector",
    audio: Any,
    sampling_rate: int | None,
    machine: str | None,
    window_seconds: WindowSeconds,
    theme: ThemeName,
) -> Figure:
    """Does what [`AnomalyDetector.plot`] documents."""
    colors = get_theme(theme)
    decision = detector(audio, sampling_rate, machine, explain=True, window_seconds=window_seconds)
    clip = judged_clip(detector, decision, audio, sampling_rate)
    return decision_figure(detector, decision, clip, colors)


def decision_figure(detector: "AnomalyDetector", decision: Decision, clip: DecodedClip, theme: Theme) -> Figure:
    """
    The figure of a clip that was decided about.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): that decided.
        decision ([`~hf_asd.detection.decision.Decision`]): with reasons, if these are to be shown.
        clip ([`~hf_asd.audio.reading.DecodedClip`]): of [`judged_clip`].
        theme ([`~hf_asd.plotting.style.Theme`]): the colors.
    """
    bank = detector.machines[decision.machine]
    color = decision_color(decision.is_anomaly, theme)
    rows = [
        ScoreRow(f"{len(bank.normal_scores)} normal", bank.normal_scores, theme.normal),
        ScoreRow("this one", np.array([decision.anomaly_score]), color, is_single=True),
    ]
    span = worst_window(decision)
    # Without a decision the verdict says why.
    reasons = () if decision.abstain_reason is not None else decision.reasons or ()
    start = 0.0 if span is None else span[0]
    image = clip_image(detector, decision.machine, clip.samples, reasons=reasons, start_s=start)
    row = decision.to_dict()
    lines = [f"{number}  {line}" for number, line in enumerate(reason_texts(row) if reasons else (), start=1)]
    text = ClipText(verdict(row), lines, bool(decision.is_anomaly))
    with styled(theme):
        return clip_figure(text, image, rows, bank.threshold, theme)


def judged_clip(
    detector: "AnomalyDetector", decision: Decision, audio: Any, sampling_rate: int | None = None
) -> DecodedClip:
    """The sound that a decision is about: of a long recording its worst window."""
    span = worst_window(decision)
    if span is None:
        return detector.read(audio, sampling_rate)
    if is_stored(audio):
        return read_span(audio, span, detector.config.channel)
    assert sampling_rate is not None  # samples were refused without it
    first, end = (round(second * sampling_rate) for second in span)
    return clip_from_array(array_of(audio)[first:end], sampling_rate)


def worst_window(decision: Decision) -> Span | None:
    """Start and end of the worst window of a long recording; `None` for a whole one."""
    if decision.worst_window_start_s is None or decision.worst_window_end_s is None:
        return None
    return decision.worst_window_start_s, decision.worst_window_end_s


def clip_image(
    detector: "AnomalyDetector",
    machine: str,
    samples: np.ndarray,
    *,
    reasons: Sequence[Reason] = (),
    limits: tuple[float, float] | None = None,
    start_s: float = 0.0,
) -> ClipImage:
    """
    What is drawn of a clip.

    Args:
        detector ([`~hf_asd.AnomalyDetector`]): makes the score map, where its embeddings have one.
        machine (`str`): whose normal clips it is compared with.
        samples (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.
        reasons (`Sequence[Reason]`, *optional*): their bands and moments are marked, numbered from 1.
        limits (`tuple[float, float]`, *optional*): lowest and highest level of the colors in dB; by default the
            clip's own.
        start_s (`float`, *optional*, defaults to 0): where the clip begins in its recording.
    """
    levels = log_mel(samples)
    scale, drawn_map = map_scale(detector.encoder), None
    if scale is not None:
        bank = torch.cat(list(detector.machines[machine].embeddings.values()))
        values = score_map(detector.encoder, samples, bank)
        drawn_map = ScoreMap(values, map_edges(values.shape[1], scale), usual_range(detector.encoder, bank))
    marks = [
        BandMark(reason.low_hz, reason.high_hz, reason.start_s, reason.end_s, str(number))
        for number, reason in enumerate(reasons, start=1)
    ]
    seconds = len(samples) / SAMPLING_RATE
    return ClipImage(levels, seconds, limits or level_limits([levels]), drawn_map, marks, start_s)


def plot_scores(detector: "AnomalyDetector", scored: Dataset | Sequence[Decision], theme: ThemeName) -> Figure:
    """Does what [`AnomalyDetector.plot_scores`] documents."""
    colors = get_theme(theme)
    machines: dict[str, list[dict]] = {}
    for row in _plain_rows(scored):
        machines.setdefault(row["machine"], []).append(row)
    panels = {}
    for machine in sorted(machines):
        bank = detector.machines[detector.known_machine(machine)]
        normal = ScoreRow(f"{len(bank.normal_scores)} normal", bank.normal_scores, colors.normal)
        panels[machine] = [normal, *new_rows(machines[machine], colors)], bank.threshold
    with styled(colors):
        return score_figure(panels, colors)


def _plain_rows(scored: Dataset | Sequence[Decision]) -> list[dict]:
    if not isinstance(scored, Dataset):
        return [decision.to_dict() for decision in scored]
    if missing := [name for name in SCORE_COLUMNS if name not in scored.column_names]:
        raise ValueError(f"the dataset lacks {', '.join(missing)}; plot_scores takes the result of score.")
    return scored.select_columns(
        [name for name in (*SCORE_COLUMNS, "condition") if name in scored.column_names]
    ).to_list()


def new_rows(rows: Sequence[Mapping[str, Any]], theme: Theme) -> list[ScoreRow]:
    """
    Rows of dots for new recordings: one for each condition that their labels name.

    Args:
        rows (`Sequence[Mapping]`): with `anomaly_score`, `is_anomaly` and perhaps `condition`.
        theme ([`~hf_asd.plotting.style.Theme`]): the colors; of a dot the decision's.
    """
    found = []
    for condition, name in CONDITION_NAMES.items():
        own = [row for row in rows if row.get("condition", "unknown") == condition]
        if own:
            scores = np.array([row["anomaly_score"] for row in own])
            dots = [decision_color(row["is_anomaly"], theme) for row in own]
            found.append(ScoreRow(f"{len(own)} {name}", scores, dots))
    return found


def decision_color(is_anomaly: bool | None, theme: Theme) -> str:
    """The color of a decision."""
    return theme.unknown if is_anomaly is None else theme.anomaly if is_anomaly else theme.normal
