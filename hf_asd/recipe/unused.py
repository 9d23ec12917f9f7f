"""Which options are used only together with others: an option that is given and not used is an error."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from ..clustering.config import ClusteringConfig
from ..detection.config import ScoringConfig
from ..training.config import FinetuneConfig, NoiseOptions, PretrainConfig
from .config import EvaluateConfig


@dataclass(frozen=True)
class UsedWith:
    """
    Some options of a config class, and what they need to be used.

    Args:
        needs (`str`): what has to be set, in words.
        options (`tuple[str, ...]`): the options that are not used otherwise.
        is_used (`Callable`): whether a config uses them.
    """

    needs: str
    options: tuple[str, ...]
    is_used: Callable[[Any], bool]


def _has_backend(*names: str) -> Callable[[ScoringConfig], bool]:
    return lambda config: bool(set(config.backends or ()) & set(names))


# By config class; a class inherits the rules of its base classes.
RULES: dict[type, tuple[UsedWith, ...]] = {
    ScoringConfig: (
        UsedWith("two backends or more", ("fusion",), lambda c: len(c.backends) > 1),
        UsedWith(
            "backend cosine, euclidean or standardized_knn",
            ("num_neighbors",),
            _has_backend("cosine", "euclidean", "standardized_knn"),
        ),
        UsedWith(
            "backend cosine or euclidean",
            ("normalization",),
            lambda c: set(c.normalizations) <= {"none", "z"} or _has_backend("cosine", "euclidean")(c),
        ),
        UsedWith(
            "normalization ratio, difference, varmin or log_varmin",
            ("density_neighbors",),
            lambda c: not set(c.normalizations) <= {"none", "z"} and _has_backend("cosine", "euclidean")(c),
        ),
        UsedWith("reduction k_means or k_center", ("num_references",), lambda c: c.reduction != "none"),
        UsedWith("num_bands above 1", ("band_fusion",), lambda c: c.num_bands > 1),
        UsedWith("with_statistics: true", ("encoder_weight",), lambda c: c.with_statistics),
        UsedWith("backend pca_residual", ("pca_variance",), _has_backend("pca_residual")),
    ),
    NoiseOptions: (UsedWith("noise_probability above 0", ("snr_db",), lambda c: c.noise_probability > 0),),
    PretrainConfig: (
        UsedWith("an encoder from scratch (encoder none)", ("model", "input_statistics"), lambda c: c.encoder is None),
        UsedWith("utterance_weight above 0", ("utterance_reduction",), lambda c: c.utterance_weight > 0),
        UsedWith("max_steps left out, which overrides it", ("epochs",), lambda c: c.max_steps is None),
    ),
    FinetuneConfig: (
        UsedWith(
            "loss arcface or subcenter_arcface",
            ("scale", "margin"),
            lambda c: c.loss in ("arcface", "subcenter_arcface"),
        ),
        UsedWith(
            "loss subcenter_arcface, subcluster_adacos or adaproj",
            ("num_centers",),
            lambda c: c.loss in ("subcenter_arcface", "subcluster_adacos", "adaproj"),
        ),
        UsedWith(
            "loss arcface, subcenter_arcface, adacos or subcluster_adacos",
            ("fixed_centers",),
            lambda c: c.loss in ("arcface", "subcenter_arcface", "adacos", "subcluster_adacos"),
        ),
        UsedWith("early_stopping_patience above 0", ("validation_fraction",), lambda c: c.early_stopping_patience > 0),
        UsedWith("max_steps left out, which overrides it", ("epochs",), lambda c: c.max_steps is None),
        UsedWith(
            "num_trainable_layers other than 0 (0 trains the head alone, on features of the unchanged clips)",
            (
                *("crop_seconds", "time_mask", "frequency_mask", "mixup", "noise_probability", "snr_db", "eq_db"),
                *("gain_db", "early_stopping_patience", "validation_fraction", "learning_rate", "warmup"),
                *("save_steps", "compile", "training"),
            ),
            lambda c: c.num_trainable_layers != 0,
        ),
    ),
    ClusteringConfig: (
        UsedWith(
            "labels_file left out, whose classes replace clusters",
            ("method", "num_clusters", "distance_threshold", "domains", "names_file"),
            lambda c: c.labels_file is None,
        ),
        UsedWith("method kmeans or gmm", ("seed",), lambda c: c.method in ("kmeans", "gmm")),
        UsedWith(
            "num_clusters and distance_threshold left out",
            ("max_clusters",),
            lambda c: c.num_clusters is None and c.distance_threshold is None,
        ),
    ),
    EvaluateConfig: (UsedWith("resamples above 0", ("confidence",), lambda c: c.resamples > 0),),
}


def check_used(config: Any, given: Collection[str], name_of: Callable[[str], str] = str) -> None:
    """
    Checks that every option that the user wrote is used.

    Args:
        config: an instance of a config class.
        given (`Collection[str]`): names of the options that were written, others have their defaults.
        name_of (`Callable`, *optional*): an option's name as the user writes it, for errors.

    Raises:
        ValueError: an option that is given and not used; says what it needs.
    """
    for kind in type(config).__mro__:
        for rule in RULES.get(kind, ()):
            unused = [name for name in rule.options if name in given]
            if unused and not rule.is_used(config):
                listed = ", ".join(name_of(name) for name in unused)
                be, it = ("is", "it") if len(unused) == 1 else ("are", "they")
                raise ValueError(
                    f"{listed} {be} given, but {it} would not be used: {it} need{'s' * (it == 'it')} {rule.needs}. "
                    f"Leave {'it' if it == 'it' else 'them'} out, or set that as well."
                )
    if isinstance(config, ScoringConfig) and {"preset", "backends", "normalization"} <= set(given):
        if len(config.backends or ()) == 1 or "fusion" in given:
            raise ValueError(
                f"{name_of('preset')} is given, but it would not be used: everything that a preset sets is given as "
                "well. Leave it out."
            )
