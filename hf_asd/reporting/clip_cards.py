"""The clips that a report shows: spectrogram, sound, level profile and reasons, each beside a normal clip."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..audio.acoustic_features import extract_features
from ..audio.clock import span_text
from ..audio.reading import SAMPLING_RATE
from ..detection.decision_words import decision_word, reason_texts
from ..detection.explanation.reasons import Reason, explain
from ..detection.plots import clip_image
from ..plotting.spectrogram import ClipImage, level_limits, log_mel
from . import sound_plots
from .machine_rows import MachineRows


MAXIMUM_NORMAL = 8  # cards of a machine that are filled up with normal clips
NORMAL_SAMPLE = 24  # normal clips of a machine from which the range of normal levels is computed
PLAYED_PEAK = 0.5  # of full scale: the median peak of normal clips as they are played
LOUDEST_PEAK, SOFTEST_FACTOR = 0.98, 0.25  # so that a knock is not cut, as long as the others can still be heard


@dataclass(frozen=True)
class ShownClip:
    """
    What a report needs of one clip; only the part that is played is kept of the samples.

    Args:
        image ([`~hf_asd.plotting.spectrogram.ClipImage`]): what is drawn; its colors are not those of the report yet.
        beginning (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz, the part that can be played.
        peak (`float`): largest absolute sample.
        reasons (`list[str]`): what is unusual about the clip.
    """

    image: ClipImage
    beginning: np.ndarray
    peak: float
    reasons: list[str]


class ClipReader:
    """
    Reads clips, each at most once.

    Args:
        read_clip (`Callable[[dict], np.ndarray]`): from a row to its samples of shape `(samples,)`, float32, 16 kHz.
    """

    def __init__(self, read_clip: Callable[[dict], np.ndarray]):
        self.read_clip = read_clip
        self._clips: dict[tuple, ShownClip] = {}

    def __call__(self, row: dict, machine: MachineRows | None = None) -> ShownClip:
        """
        What the report needs of a row's clip.

        Args:
            row (`dict`): a row of the schema.
            machine ([`~hf_asd.reporting.machine_rows.MachineRows`], *optional*): the clip is compared with its normal
                clips: score map, and reasons if the row has none.
        """
        key = row["clip_id"], row["audio"]["path"]
        if key not in self._clips:
            samples = self.read_clip(row)
            reasons = _reasons(row, samples, machine)
            marked = [reason for reason in reasons if reason.kind != "unfit"]
            drawn = samples[: sound_plots.SPECTROGRAM_SECONDS * SAMPLING_RATE]
            start = row.get("worst_window_start_s") or row.get("start_s") or 0.0
            if machine is not None and machine.detector is not None:
                image = clip_image(machine.detector, machine.name, drawn, reasons=marked, start_s=start)
            else:
                image = ClipImage(log_mel(drawn), len(drawn) / SAMPLING_RATE, (0.0, 0.0), start_s=start)
            self._clips[key] = ShownClip(
                image=image,
                beginning=samples[: sound_plots.LISTEN_SECONDS * SAMPLING_RATE].copy(),
                peak=max(float(np.abs(samples).max()), 1e-5),
                reasons=reason_texts(row | {"reasons": [asdict(reason) for reason in reasons]}),
            )
        return self._clips[key]


def _reasons(row: dict, samples: np.ndarray, machine: MachineRows | None) -> list[Reason]:
    """Why there is no decision, or what is unusual about an anomaly or an unusual recording."""
    if row.get("abstain_reason") is not None:
        return [Reason("unfit", row["abstain_reason"])]
    if not (row.get("is_anomaly") or row.get("is_unusual")):
        return []
    if row.get("reasons") is not None:
        return [Reason(**reason) for reason in row["reasons"]]
    profile = None if machine is None or machine.detector is None else machine.detector.profiles.get(machine.name)
    if machine is None or machine.bank is None or profile is None:
        return []
    bands = () if machine.bank.deviations is None else machine.bank.deviations.compare(samples)
    return explain(extract_features(samples), profile, is_anomaly=True, bands=bands)


@dataclass(frozen=True)
class CardStyle:
    """
    What all cards of a machine have in common.

    Args:
        limits (`tuple[float, float]`): lowest and highest level of the colors in dB.
        gain (`float`): factor for the samples that are played.
        normal_levels (`np.ndarray` of shape `(clips, 64)`, *optional*): mean levels of normal clips in dB.
    """

    limits: tuple[float, float]
    gain: float
    normal_levels: np.ndarray | None


def make_cards(machine: MachineRows, reader: ClipReader, num_cards: int) -> list[dict]:
    """
    The most anomalous clips or, without new ones, the most unusual normal clips, each beside a normal clip.

    Args:
        machine ([`~hf_asd.reporting.machine_rows.MachineRows`]): the machine.
        reader ([`ClipReader`]): reads its clips.
        num_cards (`int`): largest number of clips.

    Returns:
        `list[dict]`: what the template shows about each clip.
    """
    pairs = _choose_pairs(machine, num_cards)
    if not pairs:
        return []
    clips = [reader(row, machine) for row, _ in pairs]
    style = _card_style(machine.train, clips, reader)
    cards = []
    for (row, reference), clip in zip(pairs, clips, strict=True):
        card = _picture(row, clip, style) | {"limits": style.limits}
        if machine.test:
            card["reasons"] = clip.reasons
        else:
            card["leave_one_out_score"] = machine.leave_one_out[row["clip_id"]]
        if reference is not None:
            card["reference"] = _picture(reference, reader(reference), style, is_reference=True)
        if style.normal_levels is not None:
            levels = None if reference is None else reader(reference).image.levels.mean(1)
            name = "nearest normal" if machine.test else "most typical"
            card["profile"] = sound_plots.level_profile(clip.image.levels.mean(1), levels, style.normal_levels, name)
        cards.append(card)
    return cards


def _choose_pairs(machine: MachineRows, num_cards: int) -> list[tuple[dict, dict | None]]:
    """The clips that are shown, each with the normal clip that is shown beside it."""
    by_id = {row["clip_id"]: row for row in machine.train}
    num_normal = min(num_cards, MAXIMUM_NORMAL)
    if machine.test:
        striking = sum(row["is_anomaly"] is not False or row["is_unusual"] is True for row in machine.test)
        shown = machine.test[: min(num_cards, max(striking, num_normal))]
        return [(row, by_id.get(row["nearest_clip_id"])) for row in shown]
    scores = {clip_id: score for clip_id, score in machine.leave_one_out.items() if clip_id in by_id}
    order = sorted(scores, key=lambda clip_id: -scores[clip_id])
    return [(by_id[clip_id], by_id[order[-1]]) for clip_id in order[: min(num_normal, len(order) - 1)]]


def _card_style(train: list[dict], shown: list[ShownClip], reader: ClipReader) -> CardStyle:
    """Colors and playing volume from a sample of the normal clips or, without any, from the clips that are shown."""
    chosen = np.unique(np.linspace(0, len(train) - 1, NORMAL_SAMPLE).astype(int)) if train else []
    normal = [reader(train[row]) for row in chosen]
    measured = normal or shown
    gain = PLAYED_PEAK / float(np.median([clip.peak for clip in measured]))
    uncut = LOUDEST_PEAK / max(clip.peak for clip in [*normal, *shown])
    return CardStyle(
        limits=level_limits([clip.image.levels for clip in measured]),
        gain=min(gain, max(uncut, SOFTEST_FACTOR * gain)),
        normal_levels=np.stack([clip.image.levels.mean(1) for clip in normal]) if normal else None,
    )


def _picture(row: dict, clip: ShownClip, style: CardStyle, is_reference: bool = False) -> dict:
    return decision_texts(row) | {
        "image": sound_plots.spectrogram(clip.image, style.limits, is_reference),
        "sound": sound_plots.sound(clip.beginning, style.gain),
    }


def decision_texts(row: dict) -> dict:
    """What the template shows about the decision on a clip."""
    start = row.get("worst_window_start_s")
    return {
        "file": Path(row["audio"]["path"] or row["clip_id"]).name,
        "domain": row["domain"],
        "condition": row["condition"],
        "score": row.get("anomaly_score"),
        "p_value": row.get("p_value"),
        "alarm": row.get("is_anomaly"),
        "unusual": row.get("is_unusual"),
        "word": decision_word(row) if "is_anomaly" in row else None,
        "as_high": row.get("num_normal_as_high"),
        "normal_clips": row.get("num_normal_clips"),
        "abstain_reason": row.get("abstain_reason"),
        "like_fault": row.get("like_fault"),
        "nearest": row.get("nearest_clip_id"),
        "window": None if start is None else span_text((start, row["worst_window_end_s"])),
    }
