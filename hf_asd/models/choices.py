"""The words that options about models accept; kept apart from the models, whose import takes seconds."""

from typing import Literal


# Each is a function in `pooling.py`.
PoolingName = Literal["mean", "cls", "bands", "bands_std", "gem", "rdp", "rdp_gem"]
# Each is a class in `attribute_classifier/heads.py`.
LossName = Literal["softmax", "arcface", "subcenter_arcface", "adacos", "subcluster_adacos", "adaproj"]
# What detection compares after fine-tuning.
EmbeddingSource = Literal["encoder", "projection"]
# Each is a class or an option in `embedding.py`.
StatisticsName = Literal["quantiles", "mean", "acoustic_features"]
