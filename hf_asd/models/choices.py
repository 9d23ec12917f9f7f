"""The accepted words of options about models; apart from the models themselves, whose import takes seconds."""

from typing import Literal


# The keys of `POOLINGS` in `pooling.py`.
PoolingName = Literal["mean", "cls", "bands", "bands_std", "gem", "rdp", "rdp_gem"]
# The keys of `HEADS` in `attribute_classifier/heads.py`.
LossName = Literal["softmax", "arcface", "subcenter_arcface", "adacos", "subcluster_adacos", "adaproj"]
# The embedding that detection uses after fine-tuning.
EmbeddingSource = Literal["encoder", "projection"]
# Each is a class or an option in `embedding.py`.
StatisticsName = Literal["quantiles", "mean", "acoustic_features"]
