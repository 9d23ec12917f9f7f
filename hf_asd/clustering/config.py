"""The options of pseudo-attributes."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..options import check_options, option


Linkage = Literal["ward", "average", "complete"]
LINKAGES: tuple[Linkage, ...] = get_args(Linkage)


@dataclass
class ClusteringConfig:
    """How pseudo-attributes are assigned. The paper's choices beyond Ward's linkage are not public; these are ours."""

    method: Literal["ward", "average", "complete", "kmeans", "gmm"] = option(
        "ward", "clustering method; average and complete linkage compare by cosine distance"
    )
    num_clusters: int | None = option(
        None, "clusters of a machine; none: chosen from the embeddings, up to max_clusters", at_least=1
    )
    distance_threshold: float | None = option(
        None, "instead of a number of clusters: clusters farther apart than this are not merged", above=0
    )
    max_clusters: int = option(32, "largest number of clusters of a machine that is considered", at_least=2)
    normalize: bool = option(True, "scale embeddings to unit length first")
    pca_components: int | None = option(
        None, "cluster this many principal components; none: all dimensions", at_least=1
    )
    whiten: bool = option(False, "scale principal components to equal variance")
    domains: Literal["together", "source", "apart"] = option(
        "together",
        "cluster source and target clips together; source: target clips join the nearest cluster of source clips; "
        "apart: each domain separately",
    )
    names_file: str | None = option(
        None, "CSV of `hf-asd clusters` with edited names; clusters with equal names are merged"
    )
    labels_file: str | None = option(
        None, "label file of ASDKit (JSON) whose classes take the place of clusters; none: clusters"
    )
    seed: int = option(0, "random seed of kmeans and gmm", at_least=0)

    def __post_init__(self):
        check_options(self)
        if self.whiten and self.pca_components is None:
            raise ValueError("whiten scales principal components; give pca_components as well.")
        if self.distance_threshold is not None:
            if self.num_clusters is not None:
                raise ValueError("num_clusters and distance_threshold are both given; give one of them.")
            if self.method not in LINKAGES:
                raise ValueError(
                    f"distance_threshold is given with method {self.method!r}; accepted methods are "
                    f"{', '.join(LINKAGES)}."
                )
