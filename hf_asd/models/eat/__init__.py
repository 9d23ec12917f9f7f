"""EAT (W. Chen et al. 2024, arXiv 2401.03497)."""
