"""Pseudo-attributes: clusters of each machine's embeddings stand in for attributes that nobody wrote down."""

from .quality import cluster_quality
from .step import ClusteringConfig, assign_pseudo_attributes


__all__ = ["ClusteringConfig", "assign_pseudo_attributes", "cluster_quality"]
