from typing import Any, get_args

import pytest
import torch
from transformers import ASTConfig, ASTModel, HubertConfig, Wav2Vec2Config

from hf_asd import EatConfig
from hf_asd.models.choices import PoolingName
from hf_asd.models.pooling import POOLINGS, check_pooling, embedding_size, num_bands, pool, prefix_tokens


TINY: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def test_every_pooling_that_options_accept_is_a_function():
    assert tuple(POOLINGS) == get_args(PoolingName)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("config", [EatConfig(**TINY, num_mel_bins=64), ASTConfig(**TINY), HubertConfig(**TINY)])
def test_the_embedding_size_is_that_of_pooled_tokens(pooling, config):
    try:
        check_pooling(config, pooling)
    except ValueError:
        with pytest.raises(ValueError, match=f"pooling is '{pooling}'"):
            embedding_size(config, pooling)
        return
    tokens = torch.randn(2, prefix_tokens(config) + 5 * (num_bands(config) or 1), 8)
    assert pool(tokens, pooling, config).shape == (2, embedding_size(config, pooling))


def test_poolings_of_patches_along_time_and_frequency():
    # The CLS token, then two time steps of four bands.
    config = EatConfig(num_mel_bins=64)
    hidden_states = torch.arange(1 * 9 * 2, dtype=torch.float32).view(1, 9, 2)
    patches = hidden_states[0, 1:]
    assert torch.equal(pool(hidden_states, "mean", config)[0], patches.mean(0))
    assert torch.equal(pool(hidden_states, "cls", config)[0], hidden_states[0, 0])
    bands = pool(hidden_states, "bands", config)[0]
    assert torch.equal(bands, torch.cat([(patches[band] + patches[4 + band]) / 2 for band in range(4)]))
    spread = pool(hidden_states, "bands_std", config)[0].view(4, 2, 2)
    assert torch.equal(spread[:, 0].flatten(), bands)
    torch.testing.assert_close(spread[:, 1], patches.view(2, 4, 2).std(0, correction=0))
    assert embedding_size(config, "bands_std") == 8 * config.hidden_size
    with pytest.raises(ValueError, match="pooling is 'median'; accepted are mean, max, cls, bands, bands_std"):
        pool(hidden_states, "median", config)


def test_bands_of_overlapping_patches_that_run_band_after_band():
    config = ASTConfig(**TINY, max_length=64)
    assert (prefix_tokens(config), num_bands(config)) == (2, 12)
    assert embedding_size(config, "bands") == 96 and embedding_size(config, "mean") == 8
    embeddings = ASTModel(config).embeddings.patch_embeddings
    # The same in every frame: all patches of a band are alike, so their mean is one of them.
    spectrum = torch.randn(1, 1, 128).expand(1, 64, 128)
    with torch.inference_mode():
        tokens = torch.cat([torch.zeros(1, 2, 8), embeddings(spectrum)], dim=1)
        expected = [embeddings.projection(spectrum.mT[None, :, 10 * b : 10 * b + 16, :16]) for b in range(12)]
        torch.testing.assert_close(pool(tokens, "bands", config), torch.cat(expected, dim=1).flatten()[None])


@pytest.mark.parametrize("config", [Wav2Vec2Config(**TINY), HubertConfig(**TINY)])
def test_tokens_along_time_alone_have_neither_cls_nor_bands(config):
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(pool(tokens, "mean", config), tokens.mean(1))
    with pytest.raises(ValueError, match=f"pooling is 'cls', but a {config.model_type} encoder has no such token"):
        pool(tokens, "cls", config)
    with pytest.raises(ValueError, match=f"tokens of a {config.model_type} encoder run along time only"):
        pool(tokens, "bands", config)
    with pytest.raises(ValueError, match="pooling is 'bands_std', but the tokens"):
        pool(tokens, "bands_std", config)


def test_the_spread_of_equal_times_has_a_slope():
    config = EatConfig(num_mel_bins=64)
    hidden_states = torch.ones(1, 9, 2, requires_grad=True)
    pool(hidden_states, "bands_std", config).sum().backward()
    assert hidden_states.grad is not None and hidden_states.grad.isfinite().all()


def test_clean_up_bounds_every_channel():
    config = EatConfig(num_mel_bins=64)
    hidden_states = torch.tensor([-40.0, 0.0, 0.1, 0.3, 0.5, 0.6, 90.0]).repeat(1, 9, 1)
    cleaned = pool(hidden_states, "mean", config, clamp_outlier_channels=True)[0]
    expected = torch.tensor([0.1, 0.1, 0.1, 0.3, 0.5, 0.5 + torch.tanh(torch.tensor(0.1)), 1.5])
    torch.testing.assert_close(cleaned, expected)
