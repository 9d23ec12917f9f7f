"""What compares a clip with the normal ones: a name and a class each, made of the memory bank of one domain."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args


if TYPE_CHECKING:
    from .protocol import Backend


# To add a backend: its class (see `protocol.py`) in a module of this folder, its name here, and its line below.
BackendName = Literal[
    "conditional",
    "mahalanobis",
    "cosine",
    "euclidean",
    "standardized_knn",
    "max_deviation",
    "pca_residual",
]
CLASSES: dict[BackendName, tuple[str, str]] = {
    "conditional": ("gaussian", "ConditionalDeviations"),
    "mahalanobis": ("gaussian", "Mahalanobis"),
    "cosine": ("nearest_neighbors", "CosineNeighbors"),
    "euclidean": ("nearest_neighbors", "EuclideanNeighbors"),
    "standardized_knn": ("standardized", "StandardizedNeighbors"),
    "max_deviation": ("standardized", "MaxDeviation"),
    "pca_residual": ("pca", "PcaResidual"),
}
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


def backend_class(name: BackendName) -> "type[Backend]":
    """The class of a backend; its module is imported when it is asked for."""
    module, class_name = CLASSES[name]
    return getattr(import_module(f".{module}", __name__), class_name)
