"""Encoders of each kind with random weights, for tests of bundles."""

from typing import Any

import torch

from hf_asd import (
    AttributeClassifier,
    AttributeClassifierConfig,
    EatConfig,
    EatFeatureExtractor,
    EatModel,
    SpectralStatistics,
    TransformerEncoder,
)
from hf_asd.models.beats.configuration_beats import BeatsConfig
from hf_asd.models.beats.feature_extraction_beats import BeatsFeatureExtractor
from hf_asd.models.beats.modeling_beats import BeatsModel


SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def small_encoder(kind: str):
    """`statistics`, `mean`, `eat`, `eat of fixed length`, `mean of layers`, `classifier` or `beats`."""
    torch.manual_seed(0)
    if kind == "statistics":
        return SpectralStatistics()
    if kind == "mean":
        return SpectralStatistics("mean")
    if kind == "beats":
        return TransformerEncoder(BeatsModel(BeatsConfig(**SHAPE)), BeatsFeatureExtractor(), "bands")
    if kind == "classifier":
        options = {"pooling": "bands_std", "projection_size": 16, "embedding_from": "projection"}
        config = AttributeClassifierConfig(encoder_config=EatConfig(**SHAPE), id2label={0: "a", 1: "b"}, **options)
        return TransformerEncoder(AttributeClassifier(config), EatFeatureExtractor())
    extractor = EatFeatureExtractor(num_frames=320 if kind == "eat of fixed length" else None)
    options: dict[str, Any] = {"layer": "mean"} if kind == "mean of layers" else {"with_statistics": True}
    return TransformerEncoder(EatModel(EatConfig(**SHAPE)), extractor, "rdp", **options)
