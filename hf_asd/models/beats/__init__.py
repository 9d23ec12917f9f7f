"""BEATs (S. Chen et al. 2022, arXiv 2212.09058)."""
