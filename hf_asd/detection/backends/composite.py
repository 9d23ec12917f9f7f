"""How a clip is compared with the normal ones: the backends of a config, over domains and bands, as one scorer."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from ...embedding.band_statistics import SPECTRUM_SIZE, STATISTICS_SIZE
from ..config import BandFusion, Fusion, ScoringConfig
from ..threshold import recording_weights
from . import BackendName, backend_class
from .cross_scores import cross_scores, extrapolated_scores, fewest_kept, recording_splits
from .events import WithEvents
from .protocol import Scorer
from .references import k_center, k_means, mem_mixup, smote
from .standardized import MaxEvent


# How the z-scores of bands become one; the other words of `band_fusion` join the bands' scores as they are.
Z_FUSIONS: dict[BandFusion, Fusion] = {"z_mean": "mean", "z_min": "min", "z_max": "max"}


def fuse(
    scores: torch.Tensor,
    normal_scores: torch.Tensor,
    how: Fusion = "mean",
    weights: tuple[float, ...] | None = None,
) -> torch.Tensor:
    """
    Several scores of the same clips as one: of backends, or of detectors with other encoders, layers or poolings. Each
    is standardized by mean and standard deviation of its own normal scores (z-score).

    Args:
        scores (`torch.Tensor` of shape `(systems, clips)`): float64.
        normal_scores (`torch.Tensor` of shape `(systems, references)`): leave-one-out scores of the normal clips.
        how (`"mean"`, `"min"` or `"max"`): with `"min"` an anomaly has to be one for all of them, with `"max"` for
            one.
        weights (`tuple[float, ...]`, *optional*): of the systems in the mean; `None` for equal ones.

    Returns:
        `torch.Tensor` of shape `(clips,)`, float64.

    References:
        arXiv 2606.19269 (2026), "Scoring Backends Matter More Than Pooling": the minimum over backends whose scores
        are z-normalized by the bank's own.
    """
    location = normal_scores.mean(1, keepdim=True)
    # The scores of identical clips do not vary.
    scale = normal_scores.std(1, correction=0, keepdim=True).clamp_min(1e-6)
    standardized = (scores - location) / scale
    if weights is not None:
        return torch.tensor(weights, dtype=standardized.dtype) @ standardized / sum(weights)
    return standardized.mean(0) if how == "mean" else getattr(standardized, f"a{how}")(0)


class FusedScorer:
    """
    Several backends as one.

    Args:
        parts (`list[Scorer]`): backends over the same clips in the same order.
        how (`"mean"`, `"min"` or `"max"`), weights (`tuple[float, ...]`, *optional*): see [`fuse`].
    """

    def __init__(self, parts: list[Scorer], how: Fusion = "mean", weights: tuple[float, ...] | None = None):
        self.parts = parts
        self.how: Fusion = how
        self.weights = weights
        self.leave_one_out_scores = torch.stack([part.leave_one_out() for part in parts])

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        scores = torch.stack([part.score(queries) for part in self.parts])
        return fuse(scores, self.leave_one_out_scores, self.how, self.weights)

    def leave_one_out(self) -> torch.Tensor:
        """The score of every clip of the bank by the others, of shape `(references,)`, float64."""
        return fuse(self.leave_one_out_scores, self.leave_one_out_scores, self.how, self.weights)


class BandScorer:
    """
    A backend for each frequency band; the bands' scores as they are become one.

    Args:
        bands (`list[Scorer]`): backends over the same clips in the same order, of distances in the same unit.
        how (`"mean"`, `"mean_max"` or `"max"`): the mean over bands, half of the mean and half of the largest, or the
            largest.

    References:
        P. Saengthong, T. Shinozaki 2026, "Sub-Band Spectral Matching with Localized Score Aggregation for Robust
        Anomalous Sound Detection" (BEAM, arXiv 2603.13749): the uniform mean. Its adaptive fusion could not be read;
        `"mean_max"` is this project's.
    """

    def __init__(self, bands: list[Scorer], how: BandFusion = "mean"):
        self.bands = bands
        self.how: BandFusion = how

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self._join(torch.stack([band.score(queries) for band in self.bands]))

    def leave_one_out(self) -> torch.Tensor:
        """The score of every clip of the bank by the others, of shape `(references,)`, float64."""
        return self._join(torch.stack([band.leave_one_out() for band in self.bands]))

    def _join(self, scores: torch.Tensor) -> torch.Tensor:
        mean, largest = scores.mean(0), scores.amax(0)
        return {"mean": mean, "max": largest}.get(self.how, (mean + largest) / 2)


class MinOverDomains:
    """
    One memory bank a domain; a clip gets the lowest of its scores, because its domain is not known.

    Args:
        parts (`dict[str, Scorer]`): by domain, a backend.
        banks (`dict[str, torch.Tensor]`): by domain, the embeddings that leave-one-out scores are wanted of.
    """

    def __init__(self, parts: dict[str, Scorer], banks: dict[str, torch.Tensor]):
        self.parts, self.banks = parts, banks

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the banks, of shape `(clips,)`, float64."""
        return torch.stack([part.score(queries) for part in self.parts.values()]).amin(0)

    def leave_one_out(self) -> torch.Tensor:
        """The score of every clip by the others, domain after domain, float64."""
        scores = []
        for domain, own in self.parts.items():
            others = [part.score(self.banks[domain]) for name, part in self.parts.items() if name != domain]
            scores.append(torch.stack([own.leave_one_out(), *others]).amin(0))
        return torch.cat(scores)


class ReducedScorer:
    """A backend over other references than the normal clips themselves, such as cluster centers."""

    def __init__(
        self,
        bank: torch.Tensor,
        build: Callable[[torch.Tensor], Scorer],
        references: Callable[[torch.Tensor], torch.Tensor],
    ):
        self.bank, self.build, self.references = bank, build, references
        self.backend = build(references(bank))

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.backend.score(queries)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip by references made without it; see [`cross_scores`]."""
        return cross_scores(lambda kept: ReducedScorer(kept, self.build, self.references), self.bank)


class PiecesScorer:
    """
    A backend over clips of which some belong together: pieces of one recording, or recordings of one session.

    Args:
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips.
        build (`Callable`): makes a backend of a bank.
        recordings (`np.ndarray` of shape `(references,)`): a number for each clip, the same for all that belong
            together.
    """

    def __init__(self, bank: torch.Tensor, build: Callable[[torch.Tensor], Scorer], recordings: np.ndarray):
        self.bank, self.build, self.recordings = bank, build, recordings
        self.backend = build(bank)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.backend.score(queries)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip by a backend without its recording; see [`extrapolated_scores`]."""
        return extrapolated_scores(self.build, self.bank, recording_splits(self.recordings))


class ColumnScorer:
    """A backend over some of the dimensions."""

    def __init__(self, backend: Scorer, columns: slice):
        self.backend, self.columns = backend, columns

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.backend.score(queries[:, self.columns])

    def leave_one_out(self) -> torch.Tensor:
        """Leave-one-out scores, float64."""
        return self.backend.leave_one_out()


def make_scorer(
    banks: dict[str, torch.Tensor],
    config: ScoringConfig,
    recordings: dict[str, np.ndarray] | None = None,
    weights: np.ndarray | None = None,
) -> Scorer:
    """
    The scorer of one machine.

    Band statistics, which come first in an embedding, are compared by themselves: what an encoder gives beside them
    has a score of its own, and both z-scores are averaged by `encoder_weight`. Short events ([`WithEvents`]) have a
    share of the false-alarm rate.

    Args:
        banks (`dict[str, torch.Tensor]`): by domain (`"source"` first, `"target"` where there is one), embeddings of
            shape `(clips, dimensions)`.
        config ([`ScoringConfig`]): the options.
        recordings (`dict[str, np.ndarray]`, *optional*): by domain, a number for each clip, the same for all pieces of
            a recording, or for all recordings of a session: leave-one-out scores leave all of these out. `None` where
            each clip is a recording of its own.
        weights (`np.ndarray` of shape `(clips,)`, *optional*): how much the leave-one-out score of each clip counts,
            in the order of the domains' clips; by default [`~hf_asd.detection.threshold.recording_weights`] of
            `recordings`.

    Returns:
        [`Scorer`]: its leave-one-out scores are in the order of the domains' clips.

    Raises:
        ValueError: the dimensions cannot be divided into `num_bands` equal parts, or are too few to hold the band
            statistics that `config` says are there.
    """
    if not config.has_statistics:
        return _compare(banks, config, recordings)
    dimensions = next(iter(banks.values())).shape[1]
    if dimensions < STATISTICS_SIZE:
        raise ValueError(f"an embedding has {dimensions} values, but band statistics are {STATISTICS_SIZE}.")
    spectrum, events = slice(0, SPECTRUM_SIZE), slice(SPECTRUM_SIZE, STATISTICS_SIZE)
    scorer = _compare_columns(banks, spectrum, replace(config, num_bands=1), recordings)
    if config.with_statistics:
        others = _compare_columns(banks, slice(STATISTICS_SIZE, None), config, recordings)
        scorer = FusedScorer([scorer, others], weights=(1.0, config.encoder_weight))
    if config.event_share == 0:
        return scorer
    if weights is None and recordings is not None:
        numbers = np.concatenate(list(recordings.values()))
        weights = recording_weights(numbers, len(numbers))
    return WithEvents(scorer, ColumnScorer(_event_scorer(banks, events, recordings), events), config, weights)


def _compare_columns(
    banks: dict[str, torch.Tensor], columns: slice, config: ScoringConfig, recordings: dict[str, np.ndarray] | None
) -> Scorer:
    own = {domain: bank[:, columns] for domain, bank in banks.items()}
    return ColumnScorer(_compare(own, config, recordings), columns)


def _event_scorer(banks: dict[str, torch.Tensor], columns: slice, recordings: dict[str, np.ndarray] | None) -> Scorer:
    bank = torch.cat(list(banks.values()))[:, columns]
    if recordings is None:
        return MaxEvent(bank)
    return PiecesScorer(bank, MaxEvent, np.concatenate(list(recordings.values())))


def _compare(
    banks: dict[str, torch.Tensor], config: ScoringConfig, recordings: dict[str, np.ndarray] | None
) -> Scorer:
    if not config.per_domain_banks or _fewest_kept(banks, recordings) < config.minimum_clips:
        banks = {"all": torch.cat(list(banks.values()))}
        recordings = None if recordings is None else {"all": np.concatenate(list(recordings.values()))}
    parts = [
        _over_bands(banks, name, replace(config, backends=(name,), normalization=normalization), recordings)
        for name, normalization in zip(config.backends or (), config.normalizations, strict=True)
    ]
    return parts[0] if len(parts) == 1 else FusedScorer(parts, config.fusion or "mean")


def _fewest_kept(banks: dict[str, torch.Tensor], recordings: dict[str, np.ndarray] | None) -> int:
    if recordings is None:
        return min(map(len, banks.values()))
    return min(map(fewest_kept, recordings.values()))


def _over_bands(
    banks: dict[str, torch.Tensor],
    name: BackendName,
    config: ScoringConfig,
    recordings: dict[str, np.ndarray] | None,
) -> Scorer:
    dimensions = next(iter(banks.values())).shape[1]
    if dimensions % config.num_bands:
        raise ValueError(f"num_bands is {config.num_bands}, but an embedding has {dimensions} dimensions.")
    if config.num_bands == 1:
        return _over_domains(banks, name, config, recordings)
    width = dimensions // config.num_bands
    bands = []
    for start in range(0, dimensions, width):
        columns = slice(start, start + width)
        own = {domain: bank[:, columns] for domain, bank in banks.items()}
        bands.append(ColumnScorer(_over_domains(own, name, config, recordings), columns))
    if config.band_fusion in Z_FUSIONS:
        return FusedScorer(bands, Z_FUSIONS[config.band_fusion])
    return BandScorer(bands, config.band_fusion)


def _over_domains(
    banks: dict[str, torch.Tensor],
    name: BackendName,
    config: ScoringConfig,
    recordings: dict[str, np.ndarray] | None,
) -> Scorer:
    def build_plain(bank: torch.Tensor) -> Scorer:
        return backend_class(name).build(bank, config)

    parts: dict[str, Scorer] = {}
    for domain, bank in banks.items():
        references = _references(domain, banks, config)
        build = build_plain if references is None else partial(ReducedScorer, build=build_plain, references=references)
        parts[domain] = build(bank) if recordings is None else PiecesScorer(bank, build, recordings[domain])
        if config.normalizations == ("z",):
            parts[domain] = FusedScorer([parts[domain]])
    return MinOverDomains(parts, banks) if len(parts) > 1 else next(iter(parts.values()))


def _references(
    domain: str, banks: dict[str, torch.Tensor], config: ScoringConfig
) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """A function that makes other references of a bank; `None` where the clips themselves are the references."""
    if domain == "target" and config.target == "smote":
        return lambda bank: smote(bank, len(banks["source"]))
    if domain == "target" and config.target == "mem_mixup":
        return lambda bank: mem_mixup(bank, banks["source"])
    if config.reduction == "none":
        return None
    reduce = k_means if config.reduction == "k_means" else k_center
    return lambda bank: reduce(bank, config.num_references)


def describe_scoring(config: ScoringConfig) -> str:
    """How clips are compared, in words for cards."""
    backends = config.backends or ()
    parts = []
    for name, normalization in zip(backends, config.normalizations, strict=True):
        by_density = name in ("cosine", "euclidean") and normalization not in ("none", "z")
        density = f", normalized by their local density ({normalization})" if by_density else ""
        parts.append(backend_class(name).description + density)
    text = " and ".join(parts)
    if len(backends) > 1:
        fusion = {"mean": "mean", "min": "lowest", "max": "highest"}[config.fusion or "mean"]
        text += f"; the {fusion} of their z-scores"
    if not {"cosine", "euclidean"}.isdisjoint(backends):
        text += f"; neighbors averaged: {config.num_neighbors}"
    return text
