"""How far the acoustic features of a machine's normal clips vary."""

import numpy as np
from datasets import Dataset

from ...audio.acoustic_features import extract_features, summarize_features
from ...audio.channels import Channel
from ...audio.clock import Span
from ...audio.reading import DecodedClip, read_clip
from ...audio.windows import read_span
from ...data.schema import undecoded_audio
from ...threads import map_clips
from .input_ranges import InputRanges


MINIMUM_CLIPS = 4
MAXIMUM_CLIPS = 150  # clips of a domain: more would only widen the limits
WIDTHS = (3, 9)  # sixths of an octave over which levels are averaged: half an octave and one and a half
MOST_SIMILAR = 4  # normal clips whose mean a clip's levels are compared with
MARGIN = 1.5  # how far beyond the most unusual normal clip a finding has to be
LEAST_LIMIT = 3.0  # a dozen clips do not show all that is normal: three standard deviations are not a finding
RARE_SHARE = 0.05  # share of the normal clips that may show as much as the reason of last resort
# Smallest standard deviation in dB: a dozen clips may agree by chance.
FLOORS = {
    "louder": 0.3,
    "quieter": 0.3,
    "tone": 0.5,
    "burst": 0.5,
    "knock": 0.5,
    "rhythm": 0.5,
    "dropout": 1.0,
    "level_rise": 1.0,
    "level_drop": 1.0,
}


class NormalProfile:
    """
    How far the acoustic features of one machine's normal clips vary, and what none of them shows.

    Levels are compared with those of the most similar normal clips (a machine has several speeds), shifted to the same
    loudness. Every value is standardized by mean and standard deviation of the normal clips; of each kind of finding
    the largest standardized value of a clip counts. The limit is the largest value that normal clips reach when each
    is compared with the others, so that a normal clip shows nothing.

    Args:
        summaries (`dict[str, np.ndarray]`): of [`summarize_clip`], stacked over at least 4 normal clips.

    Attributes:
        ranges ([`InputRanges`]): limits for the checks of recordings.
        limit (`dict[str, float]`): by kind of finding what a standardized value has to exceed.
        rare (`dict[str, float]`): by kind what 5 % of the normal clips exceed, over the limit.
    """

    def __init__(self, summaries: dict[str, np.ndarray]):
        # Saved in half precision; so a loaded profile gives the same reasons.
        self.summaries = {name: values.astype(np.float16).astype(np.float32) for name, values in summaries.items()}
        self.ranges = InputRanges.of(self.summaries)
        self.mean: dict[str, np.ndarray] = {}
        self.spread: dict[str, np.ndarray] = {}
        self.limit: dict[str, float] = {}
        self.rare: dict[str, float] = {}
        for kind, values in self._findings(self.summaries, leave_one_out=True).items():
            self.mean[kind], self.spread[kind], standardized = _standardize(values, FLOORS[kind])
            self.limit[kind] = max(LEAST_LIMIT, MARGIN * float(standardized.max()))
            self.rare[kind] = float(np.quantile(standardized.max(1), 1 - RARE_SHARE)) / self.limit[kind]

    def compare(self, summary: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """
        A clip against the normal ones.

        Args:
            summary (`dict[str, np.ndarray]`): of [`summarize_features`].

        Returns:
            `dict[str, np.ndarray]`: by kind of finding the standardized value of each of its bands over the kind's
            limit; a value above 1 occurs in no normal clip.
        """
        one = {name: np.asarray(values)[None] for name, values in summary.items()}
        return {
            kind: ((values[0] - self.mean[kind]) / self.spread[kind]) / self.limit[kind]
            for kind, values in self._findings(one).items()
        }

    def residual(self, level: np.ndarray, leave_one_out: bool = False) -> np.ndarray:
        """
        Levels above those of the most similar normal clips.

        Args:
            level (`np.ndarray` of shape `(clips, 51)`): of [`extract_features`].
            leave_one_out (`bool`, *optional*, defaults to `False`): the clips are the normal ones themselves, each of
                which is compared with the others.

        Returns:
            `np.ndarray` of shape `(clips, 51)`: in dB; the median over bands is 0.
        """
        normal = self.summaries["level"] - self.summaries["level"].mean(1, keepdims=True)
        level = level - level.mean(1, keepdims=True)
        distances = np.abs(level[:, None].astype(np.float64) - normal).sum(2)
        if leave_one_out:
            np.fill_diagonal(distances, np.inf)
        alike = np.argsort(distances, axis=1)[:, : min(MOST_SIMILAR, len(normal) - 1)]
        residual = level - normal[alike].mean(1)
        return residual - np.median(residual, axis=1, keepdims=True)

    def _findings(self, summaries: dict[str, np.ndarray], leave_one_out: bool = False) -> dict[str, np.ndarray]:
        residual = self.residual(summaries["level"], leave_one_out)
        wide = np.concatenate([_running_mean(residual, width) for width in WIDTHS], axis=1)
        return {
            "louder": wide,
            "quieter": -wide,
            "tone": summaries["tone"],
            "burst": summaries["burst"],
            "knock": summaries["knock"],
            "rhythm": summaries["rhythm"],
            "dropout": summaries["dropout"],
            "level_rise": summaries["loudness"],
            "level_drop": -summaries["loudness"],
        }


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over `width` (odd) neighboring columns; the first and last column are repeated beyond the ends."""
    padded = np.pad(values.astype(np.float64), ((0, 0), (width // 2, width // 2)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).mean(2).astype(values.dtype)


def _standardize(values: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation, and every clip's values standardized by those of the others (in closed form)."""
    values, n = values.astype(np.float64), len(values)
    mean, spread = values.mean(0), values.std(0, ddof=1)
    deviations = values - mean
    variance = (np.square(spread) * (n - 1) - np.square(deviations) * n / (n - 1)) / (n - 2)
    others = np.maximum(np.sqrt(np.maximum(variance, 0)), floor)
    return mean, np.maximum(spread, floor), deviations * n / (n - 1) / others


def choose_profile_rows(dataset: Dataset) -> dict[str, np.ndarray]:
    """
    The normal clips that profiles are made of: of a domain with more than 150 clips, 150 spread evenly.

    Args:
        dataset (`datasets.Dataset`): normal clips; `machine` and `domain` are read.

    Returns:
        `dict[str, np.ndarray]`: by machine the row numbers, int64.
    """
    machines, domains = np.array(dataset["machine"][:]), np.array(dataset["domain"][:])
    chosen = {}
    for machine in sorted(set(machines.tolist())):
        parts = []
        for domain in sorted(set(domains[machines == machine].tolist())):
            rows = np.flatnonzero((machines == machine) & (domains == domain))
            parts.append(rows[np.unique(np.linspace(0, len(rows) - 1, MAXIMUM_CLIPS).astype(int))])
        chosen[machine] = np.concatenate(parts)
    return chosen


def summarize_clip(clip: DecodedClip) -> dict[str, np.ndarray]:
    """What a [`NormalProfile`] needs of one normal clip."""
    summary = summarize_features(extract_features(clip.samples))
    measured = {"clipped": clip.clipped_share, "gap": clip.gap_seconds, "seconds": clip.seconds}
    return summary | {name: np.array([value]) for name, value in measured.items()}


def make_profiles(
    chosen: dict[str, np.ndarray], summaries: dict[int, dict[str, np.ndarray]]
) -> dict[str, NormalProfile]:
    """
    Args:
        chosen (`dict[str, np.ndarray]`): of [`choose_profile_rows`].
        summaries (`dict[int, dict[str, np.ndarray]]`): by row number, of [`summarize_clip`]; rows without one are left
            out.

    Returns:
        `dict[str, NormalProfile]`: by machine; machines with fewer than 4 clips have none.
    """
    profiles = {}
    for machine, rows in chosen.items():
        own = [summaries[row] for row in rows.tolist() if row in summaries]
        if len(own) >= MINIMUM_CLIPS:
            profiles[machine] = NormalProfile({name: np.stack([one[name] for one in own]) for name in own[0]})
    return profiles


def fit_profiles(dataset: Dataset, channel: Channel = 0) -> dict[str, NormalProfile]:
    """
    Profiles of every machine from recordings on disk, for a dataset that has its embeddings already.

    Args:
        dataset (`datasets.Dataset`): normal clips; `audio`, `machine` and `domain` are read, and `start_s` and `end_s`
            of windows of long recordings.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `dict[str, NormalProfile]`: as of [`make_profiles`].

    Raises:
        BadAudioError: a recording cannot be used.
    """
    chosen = choose_profile_rows(dataset)
    rows = np.concatenate(list(chosen.values())).tolist()
    clips = dataset.select(rows)
    spans: list[Span | None] = [None] * len(rows)
    if "start_s" in clips.column_names:
        pairs = zip(clips["start_s"][:], clips["end_s"][:], strict=True)
        spans = [None if start is None else (start, end) for start, end in pairs]

    def summarize(place: int) -> dict[str, np.ndarray]:
        span = spans[place]
        if span is None:
            return summarize_clip(read_clip(audios[place], channel=channel, allow_silence=False))
        return summarize_clip(read_span(audios[place], span, channel))

    audios = undecoded_audio(clips)
    summaries = map_clips(summarize, range(len(rows)), "profiles of normal clips")
    return make_profiles(chosen, dict(zip(rows, summaries, strict=True)))
