"""Poolings against plain numpy versions of the equations in their papers."""

from typing import Any

import numpy as np
import pytest
import torch
from reference_formulas import pooled
from transformers import ASTConfig, HubertConfig

from hf_asd import BeatsConfig, EatConfig, TransformerEncoder
from hf_asd.models.pooling import pool
from hf_asd.training.config import FinetuneConfig


TINY: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
BEATS = {"num_conv_pos_embedding_groups": 4, "patch_embedding_size": 8}
ENCODERS = {
    "eat": (EatConfig(**TINY, num_mel_bins=64), 1, 4),
    "beats": (BeatsConfig(**TINY, **BEATS, num_mel_bins=64), 0, 4),
    "ast": (ASTConfig(**TINY, num_mel_bins=46), 2, 4),
    "hubert": (HubertConfig(**TINY), 0, 1),
}
# K. Wilkinghoff, S. Yadav, Z.-H. Tan 2026 (arXiv 2603.04605), table III, "BEATs", "EAT" and "All".
PUBLISHED = {
    "beats": {"gwrp": 0.4, "gem": 10, "rdp": 19, "rdp_gem": 16},
    "eat": {"gwrp": 0.9, "gem": 3, "rdp": 1, "rdp_gem": 1},
    "ast": {"gwrp": 0.7, "gem": 6, "rdp": 10, "rdp_gem": 9},
    "hubert": {"gwrp": 0.7, "gem": 6, "rdp": 10, "rdp_gem": 9},
}


@pytest.mark.parametrize("pooling", ["max", "gwrp", "gem", "rdp", "rdp_gem", "bands_rdp"])
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("given", [False, True])
def test_poolings_are_the_published_ones(pooling, name, given):
    config, prefix, bands = ENCODERS[name]
    if (pooling == "bands_rdp" and bands == 1) or (given and pooling == "max"):
        return
    parameter = {"gwrp": 0.2, "gem": 2.5}.get(pooling, 5.0) if given else PUBLISHED[name].get(pooling, 4.0)
    torch.manual_seed(0)
    grid = 3 * torch.randn(2, 6, bands, 8, dtype=torch.float64)
    grid[:, :, :, 0].abs_().neg_()  # a channel without any positive value
    patches = (grid.transpose(1, 2) if name == "ast" else grid).flatten(1, 2)
    tokens = torch.cat([torch.randn(2, prefix, 8, dtype=torch.float64), patches], dim=1)
    found = pool(tokens, pooling, config, parameter=parameter if given else None)
    expected = np.stack([pooled(clip.numpy(), pooling, parameter) for clip in grid])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=2e-6)  # 1e-6 stands for negative values
    np.testing.assert_allclose(pool(tokens.float(), pooling, config).isfinite(), True)


@pytest.mark.parametrize("pooling", ["gem", "rdp", "rdp_gem", "bands_rdp", "gwrp", "max"])
def test_poolings_of_a_constant_sound_have_a_slope(pooling):
    tokens = torch.full((1, 24, 8), -1.0, requires_grad=True)
    config = BeatsConfig(**TINY, **BEATS, num_mel_bins=64)
    pooled = pool(tokens, pooling, config)
    if pooling not in ("gem", "rdp_gem"):
        torch.testing.assert_close(pooled, torch.full_like(pooled, -1.0))
    pooled.sum().backward()
    assert tokens.grad is not None and tokens.grad.isfinite().all()
    huge = pool(torch.full((1, 24, 8), 1e6), pooling, config)
    torch.testing.assert_close(huge, torch.full_like(huge, 1e6), rtol=1e-4, atol=0)


def test_a_parameter_that_a_pooling_does_not_take_is_refused():
    config = EatConfig(**TINY)
    for pooling, parameter, message in (
        ("mean", 3.0, "pooling_parameter is 3.0, but pooling 'mean' has none"),
        ("gwrp", 1.5, r"pooling_parameter is 1.5; accepted for pooling 'gwrp' \(decay r\) are 0 to 1"),
        ("gem", 0.0, r"pooling_parameter is 0.0; accepted for pooling 'gem' \(exponent p\) are 1 to 100"),
    ):
        with pytest.raises(ValueError, match=message):
            pool(torch.randn(1, 9, 8), pooling, config, parameter=parameter)
    with pytest.raises(ValueError, match="pooling_parameter is -1"):
        FinetuneConfig(pooling="gem", pooling_parameter=-1.0)


def test_the_parameter_reaches_embeddings_and_their_fingerprint():
    from hf_asd import EatFeatureExtractor, EatModel

    torch.manual_seed(0)
    model, extractor = EatModel(EatConfig(**TINY)), EatFeatureExtractor()
    clip = [0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)]
    encoders = [TransformerEncoder(model, extractor, "rdp", pooling_parameter=gamma) for gamma in (None, 1.0, 9.0)]
    first, published, other = (encoder(clip) for encoder in encoders)
    np.testing.assert_array_equal(first, published)  # 1 is published for EAT
    assert abs(other - first).max() > 1e-4
    assert encoders[0].fingerprint == encoders[1].fingerprint != encoders[2].fingerprint
