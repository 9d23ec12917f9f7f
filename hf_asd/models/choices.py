"""The accepted words of options about models; apart from the models themselves, whose import takes seconds."""

from typing import Literal


# The keys of `POOLINGS` in `pooling.py`.
PoolingName = Literal["mean", "max", "cls", "bands", "bands_std", "bands_rdp", "gwrp", "gem", "rdp", "rdp_gem"]
POOLING_PARAMETER = (
    "parameter of poolings gwrp (decay), gem (exponent), rdp, rdp_gem and bands_rdp (gamma); none: the one published "
    "for the encoder"
)
# The keys of `HEADS` in `attribute_classifier/heads.py`.
LossName = Literal["softmax", "arcface", "subcenter_arcface", "adacos", "subcluster_adacos", "adaproj"]
# The embedding that detection uses after fine-tuning.
EmbeddingSource = Literal["encoder", "projection"]
PrecisionName = Literal["fp32", "bf16"]
PRECISION = (
    "number format of an encoder's products: bf16 is up to three times as fast on GPUs and on processors with AMX, "
    "elsewhere float32 is used; embeddings differ by rounding"
)
# Each is a class or an option in `embedding.py`.
StatisticsName = Literal["band_statistics", "mean", "acoustic_features"]
