"""How a clip is compared with the normal ones: options, presets, and the backends that they name, fused."""

from dataclasses import dataclass, field, replace

import torch

from .covariance import Mahalanobis
from .deviations import LargestDeviation, StandardisedNeighbours
from .estimators import Estimator, cross_scores
from .neighbours import METRICS, NORMALISATIONS, NearestNeighbours
from .references import k_centre, k_means, mem_mixup, smote
from .threshold import METHODS


STATISTICS_SIZE = 384  # dimensions of spectral statistics
# Fewest normal clips that a backend can make something of.
MINIMUM_CLIPS = {
    "cosine": 2,
    "euclidean": 2,
    "standardised": 4,
    "largest": 4,
    "mahalanobis": 2,
    "mixture": 3,
    "outlier_factor": 3,
}
# Chosen by benchmarks/scoring_stack.py over several simulated factories. There the Mahalanobis distance alone scores
# some points more than default with spectral statistics; the largest deviation stays beside it for faults of one band,
# which drown in any distance over all bands when normal clips are few.
PRESETS = {
    "fast": {"backends": ("cosine",), "fusion": "mean", "normalisation": "none"},
    "default": {"backends": ("largest", "mahalanobis"), "fusion": "max", "normalisation": "none"},
    "max": {"backends": ("largest", "mahalanobis", "cosine"), "fusion": "max", "normalisation": "ratio"},
}
FUSIONS = ("mean", "min", "max")
TARGETS = ("as_is", "smote", "mem_mixup")
REDUCTIONS = ("none", "k_means", "k_centre")


@dataclass
class ScoringConfig:
    """How clips are compared with normal ones; what is not given comes from the preset."""

    preset: str = field(default="default", metadata={"help": f"where the options start from: {', '.join(PRESETS)}"})
    backends: tuple[str, ...] | None = field(
        default=None, metadata={"help": f"one or more of {', '.join(MINIMUM_CLIPS)} (by default the preset's)"}
    )
    fusion: str | None = field(
        default=None, metadata={"help": "of several backends' z-scores: mean, min, max (by default the preset's)"}
    )
    num_neighbours: int = field(default=1, metadata={"help": "nearest neighbours averaged into a score"})
    normalisation: str | None = field(
        default=None,
        metadata={
            "help": "of cosine and euclidean distances by the references' local density (none, ratio, difference, "
            "varmin), or z: any backend's scores domain by domain (by default the preset's)"
        },
    )
    density_neighbours: int = field(
        default=4, metadata={"help": "neighbours of a reference that make its local density"}
    )
    split_domains: bool = field(
        default=False, metadata={"help": "a bank for source and one for target clips, the lower score counts"}
    )
    target: str = field(
        default="as_is",
        metadata={"help": "target references: as_is, smote (as many as source ones), mem_mixup (a tenth source)"},
    )
    reduction: str = field(
        default="none", metadata={"help": "fewer references: none, k_means (centres), k_centre (chosen clips)"}
    )
    num_references: int = field(default=64, metadata={"help": "references a bank after a reduction"})
    num_bands: int = field(
        default=1,
        metadata={"help": "equal parts of an embedding with a memory each (BEAM); for pooling bands: its bands"},
    )
    with_statistics: bool = field(
        default=False,
        metadata={"help": "spectral statistics beside an encoder: compared by themselves, z-scores of both averaged"},
    )
    band_fusion: str = field(default="mean", metadata={"help": "of the bands' z-scores: mean, min, max"})
    threshold_method: str = field(
        default="conformal", metadata={"help": f"threshold from normal clips' scores: {', '.join(METHODS)}"}
    )
    false_alarm_rate: float = field(
        default=0.05, metadata={"help": "accepted share of false alarms among normal clips"}
    )

    def __post_init__(self):
        _accept("preset", self.preset, PRESETS)
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.backends = tuple(self.backends)
        if not self.backends:
            raise ValueError(f"backends is empty; accepted are one or more of {', '.join(MINIMUM_CLIPS)}.")
        for name in self.backends:
            _accept("backends", name, MINIMUM_CLIPS)
        _accept("normalisation", self.normalisation, (*NORMALISATIONS, "z"))
        _accept("fusion", self.fusion, FUSIONS)
        _accept("band_fusion", self.band_fusion, FUSIONS)
        _accept("target", self.target, TARGETS)
        _accept("reduction", self.reduction, REDUCTIONS)
        if self.target != "as_is" and not self.split_domains:
            raise ValueError(f"target is {self.target!r}, which needs a target bank; set split_domains to true.")
        _accept("threshold_method", self.threshold_method, METHODS)
        for name in ("num_neighbours", "density_neighbours", "num_references", "num_bands"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted is 1 or more.")
        if not 0 < self.false_alarm_rate < 1:
            raise ValueError(
                f"false_alarm_rate is {self.false_alarm_rate}; accepted is a share between 0 and 1, for example 0.05."
            )

    @property
    def minimum_clips(self) -> int:
        """Fewest normal clips that every backend can make something of."""
        return max(MINIMUM_CLIPS[name] for name in self.backends)


def _accept(option: str, value: str, accepted):
    if value not in accepted:
        raise ValueError(f"{option} is {value!r}; accepted are {', '.join(accepted)}.")


def fuse(scores: torch.Tensor, normal_scores: torch.Tensor, how: str = "mean") -> torch.Tensor:
    """
    Several scores of the same clips as one: of backends, or of detectors with other encoders, layers or poolings. Each
    is standardised by mean and standard deviation of its own normal scores (z-score).

    Args:
        scores (`torch.Tensor` of shape `(systems, clips)`): float64.
        normal_scores (`torch.Tensor` of shape `(systems, references)`): leave-one-out scores of the normal clips.
        how (`"mean"`, `"min"` or `"max"`): `"min"` raises an alarm only where all agree, `"max"` where one is sure.

    Returns:
        `torch.Tensor` of shape `(clips,)`, float64.

    References:
        arXiv 2606.19269 (2026), "Scoring Backends Matter More Than Pooling": the minimum over backends whose scores
        are z-normalised by the bank's own.
    """
    location = normal_scores.mean(1, keepdim=True)
    # Identical clips leave nothing to standardise by.
    scale = normal_scores.std(1, correction=0, keepdim=True).clamp_min(1e-6)
    standardised = (scores - location) / scale
    return standardised.mean(0) if how == "mean" else getattr(standardised, f"a{how}")(0)


class Fused:
    """
    Several backends as one.

    Args:
        parts (`list`): backends over the same clips in the same order.
        how (`"mean"`, `"min"` or `"max"`): see [`fuse`].
    """

    def __init__(self, parts: list, how: str = "mean"):
        self.parts, self.how = parts, how
        self.left_out = torch.stack([part.leave_one_out() for part in parts])

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return fuse(torch.stack([part.score(queries) for part in self.parts]), self.left_out, self.how)

    def leave_one_out(self) -> torch.Tensor:
        """The score of every clip of the bank by the others, of shape `(references,)`, float64."""
        return fuse(self.left_out, self.left_out, self.how)


class Lowest:
    """
    One bank a domain; a clip keeps the lowest of its scores, because nobody knows its domain.

    Args:
        parts (`dict`): by domain, a backend.
        banks (`dict[str, torch.Tensor]`): by domain, the embeddings that leave-one-out scores are wanted of.
    """

    def __init__(self, parts: dict, banks: dict[str, torch.Tensor]):
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


class Part:
    """A backend over other references than the normal clips themselves, such as cluster centres."""

    def __init__(self, bank: torch.Tensor, build, references):
        self.bank, self.build, self.references = bank, build, references
        self.backend = build(references(bank))

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.backend.score(queries)

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip by references made without it; see [`~estimators.cross_scores`]."""
        return cross_scores(lambda kept: Part(kept, self.build, self.references), self.bank)


class Band:
    """A backend that hears a part of the dimensions."""

    def __init__(self, backend, columns: slice):
        self.backend, self.columns = backend, columns

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return self.backend.score(queries[:, self.columns])

    def leave_one_out(self) -> torch.Tensor:
        """Leave-one-out scores, float64."""
        return self.backend.leave_one_out()


def make_scorer(banks: dict[str, torch.Tensor], config: ScoringConfig):
    """
    What scores the clips of one machine.

    Args:
        banks (`dict[str, torch.Tensor]`): by domain (`"source"` first, `"target"` where there is one), embeddings of
            shape `(clips, dimensions)`; `with_statistics`, those come first.
        config ([`ScoringConfig`]): the options.

    Returns:
        an object with `score(queries)`, of shape `(clips,)`, and `leave_one_out()`, of shape `(references,)`, the
        domains' clips in order; both float64 tensors.

    Raises:
        ValueError: the dimensions cannot be cut into `num_bands` equal parts.
    """
    if config.with_statistics:
        own = replace(config, with_statistics=False)
        statistics, others = slice(0, STATISTICS_SIZE), slice(STATISTICS_SIZE, None)
        return Fused(
            [
                Band(make_scorer({domain: bank[:, columns] for domain, bank in banks.items()}, options), columns)
                for columns, options in ((statistics, replace(own, num_bands=1)), (others, own))
            ]
        )
    if not config.split_domains or min(map(len, banks.values())) < config.minimum_clips:
        banks = {"all": torch.cat(list(banks.values()))}
    dimensions = next(iter(banks.values())).shape[1]
    if dimensions % config.num_bands:
        raise ValueError(f"num_bands is {config.num_bands}, but an embedding has {dimensions} dimensions.")
    width = dimensions // config.num_bands
    parts = []
    for name in config.backends:
        bands = []
        for start in range(0, dimensions, width):
            columns = slice(start, start + width)
            heard = {domain: bank[:, columns] for domain, bank in banks.items()}
            bands.append(_over_domains(heard, name, config))
            if config.num_bands > 1:
                bands[-1] = Band(bands[-1], columns)
        parts.append(bands[0] if config.num_bands == 1 else Fused(bands, config.band_fusion))
    return parts[0] if len(parts) == 1 else Fused(parts, config.fusion)


def _over_domains(banks: dict[str, torch.Tensor], name: str, config: ScoringConfig):
    parts = {}
    for domain, bank in banks.items():
        references = _references(domain, banks, config)
        build = _builder(name, config)
        parts[domain] = build(bank) if references is None else Part(bank, build, references)
        if config.normalisation == "z":
            parts[domain] = Fused([parts[domain]])
    return Lowest(parts, banks) if len(parts) > 1 else next(iter(parts.values()))


def _references(domain: str, banks: dict[str, torch.Tensor], config: ScoringConfig):
    """What makes other references of a bank; `None` where the clips themselves are the references."""
    if domain == "target" and config.target == "smote":
        return lambda bank: smote(bank, len(banks["source"]))
    if domain == "target" and config.target == "mem_mixup":
        return lambda bank: mem_mixup(bank, banks["source"])
    if config.reduction == "none":
        return None
    reduce = k_means if config.reduction == "k_means" else k_centre
    return lambda bank: reduce(bank, config.num_references)


def _builder(name: str, config: ScoringConfig):
    if name in METRICS:
        normalisation = "none" if config.normalisation == "z" else config.normalisation
        return lambda bank: NearestNeighbours(
            bank, name, config.num_neighbours, normalisation, config.density_neighbours
        )
    if name == "standardised":
        return lambda bank: StandardisedNeighbours(bank, config.num_neighbours)
    if name in ("mixture", "outlier_factor"):
        return lambda bank: Estimator(bank, name)
    return LargestDeviation if name == "largest" else Mahalanobis
