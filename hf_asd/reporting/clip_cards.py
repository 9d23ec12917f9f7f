"""The clips that a report shows: spectrogram, sound, level profile and reasons, each beside a normal clip."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio.acoustic_features import extract_features
from ..audio.reading import SAMPLING_RATE
from ..detection.explanation.band_deviations import BandDeviations
from ..detection.explanation.normal_profile import NormalProfile
from ..detection.explanation.reasons import explain
from ..plotting.spectrogram import log_mel
from . import sound_plots
from .machine_rows import MachineRows


NORMAL_SAMPLE = 24  # normal clips of a machine from which the range of normal levels is computed
PLAYED_PEAK = 0.5  # of full scale: the median peak of normal clips as they are played


@dataclass(frozen=True)
class ShownClip:
    """
    What a report needs of one clip; the samples themselves are not kept.

    Args:
        spectrogram (`np.ndarray` of shape `(64, columns)`): see [`~hf_asd.plotting.spectrogram.log_mel`].
        beginning (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz, the part that can be played.
        seconds (`float`): duration of the spectrogram.
        peak (`float`): largest absolute sample.
        reasons (`list[str]`): what is unusual about the clip.
    """

    spectrogram: np.ndarray
    beginning: np.ndarray
    seconds: float
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

    def __call__(
        self, row: dict, profile: NormalProfile | None = None, deviations: BandDeviations | None = None
    ) -> ShownClip:
        """
        What the report needs of a row's clip.

        Args:
            row (`dict`): a row of the schema.
            profile ([`NormalProfile`], *optional*), deviations ([`BandDeviations`], *optional*): give the reasons of
                an anomaly, if the row has none.
        """
        key = row["clip_id"], row["audio"]["path"]
        if key not in self._clips:
            samples = self.read_clip(row)
            self._clips[key] = ShownClip(
                spectrogram=log_mel(samples[: sound_plots.SPECTROGRAM_SECONDS * SAMPLING_RATE]),
                beginning=samples[: sound_plots.LISTEN_SECONDS * SAMPLING_RATE].copy(),
                seconds=min(len(samples) / SAMPLING_RATE, sound_plots.SPECTROGRAM_SECONDS),
                peak=max(float(np.abs(samples).max()), 1e-5),
                reasons=_reasons(row, samples, profile, deviations),
            )
        return self._clips[key]


def _reasons(
    row: dict, samples: np.ndarray, profile: NormalProfile | None, deviations: BandDeviations | None
) -> list[str]:
    """Why there is no decision, or what is unusual about an anomaly or an unusual recording."""
    if row.get("abstain_reason") is not None:
        return [row["abstain_reason"]]
    if not (row.get("is_anomaly") or row.get("is_unusual")):
        return []
    if row.get("reasons") is not None:
        return [reason["text"] for reason in row["reasons"]]
    if profile is None:
        return []
    bands = () if deviations is None else deviations.compare(samples)
    return [reason.text for reason in explain(extract_features(samples), profile, is_anomaly=True, bands=bands)]


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
    clips = [reader(row, machine.profile, machine.deviations) for row, _ in pairs]
    style = _card_style(machine.train, clips, reader)
    cards = []
    for (row, reference), clip in zip(pairs, clips, strict=True):
        card = _picture(row, clip, style) | {"limits": style.limits}
        if machine.test:
            if clip.reasons:
                card["reasons"] = clip.reasons
        else:
            card["leave_one_out_score"] = machine.leave_one_out[row["clip_id"]]
        if reference is not None:
            card["reference"] = _picture(reference, reader(reference), style)
        if style.normal_levels is not None:
            levels = None if reference is None else reader(reference).spectrogram.mean(1)
            name = "nearest normal" if machine.test else "most typical"
            card["profile"] = sound_plots.level_profile(clip.spectrogram.mean(1), levels, style.normal_levels, name)
        cards.append(card)
    return cards


def _choose_pairs(machine: MachineRows, num_cards: int) -> list[tuple[dict, dict | None]]:
    """The clips that are shown, each with the normal clip that is shown beside it."""
    by_id = {row["clip_id"]: row for row in machine.train}
    if machine.test:
        return [(row, by_id.get(row["nearest_clip_id"])) for row in machine.test[:num_cards]]
    scores = machine.leave_one_out
    order = sorted(scores, key=lambda clip_id: -scores[clip_id])
    return [(by_id[clip_id], by_id[order[-1]]) for clip_id in order[: min(num_cards, len(order) - 1)]]


def _card_style(train: list[dict], shown: list[ShownClip], reader: ClipReader) -> CardStyle:
    """Colors and playing volume from a sample of the normal clips or, without any, from the clips that are shown."""
    chosen = np.unique(np.linspace(0, len(train) - 1, NORMAL_SAMPLE).astype(int)) if train else []
    normal = [reader(train[row]) for row in chosen]
    measured = normal or shown
    low, high = np.percentile(np.concatenate([clip.spectrogram for clip in measured], axis=1), [5, 99.8])
    return CardStyle(
        limits=(float(low), float(high)),
        gain=PLAYED_PEAK / float(np.median([clip.peak for clip in measured])),
        normal_levels=np.stack([clip.spectrogram.mean(1) for clip in normal]) if normal else None,
    )


def _picture(row: dict, clip: ShownClip, style: CardStyle) -> dict:
    return decision_texts(row) | {
        "image": sound_plots.spectrogram(clip.spectrogram, clip.seconds, style.limits),
        "sound": sound_plots.sound(clip.beginning, style.gain),
    }


def decision_texts(row: dict) -> dict:
    """What the template shows about the decision on a clip."""
    return {
        "file": Path(row["audio"]["path"] or row["clip_id"]).name,
        "domain": row["domain"],
        "condition": row["condition"],
        "score": row.get("anomaly_score"),
        "p_value": row.get("p_value"),
        "alarm": row.get("is_anomaly"),
        "unusual": row.get("is_unusual"),
        "as_high": row.get("num_normal_as_high"),
        "normal_clips": row.get("num_normal_clips"),
        "abstain_reason": row.get("abstain_reason"),
        "nearest": row.get("nearest_clip_id"),
    }
