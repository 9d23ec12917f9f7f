"""EAT's pre-training against plain versions of what its papers and published options say."""

import argparse
from typing import Any

import numpy as np
import pytest
import torch
from test_convert_eat import assert_same_weights, fairseq, randomized
from trainings import PRETRAIN, twelve_clips  # noqa: F401
from transformers import AutoModel

from hf_asd import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel, PretrainConfig, pretrain
from hf_asd.models.eat.convert_eat import convert_eat
from hf_asd.models.eat.pretraining_eat import inverse_block_masks
from hf_asd.training import pretraining


# Share of masks in which the patches of a band are visible, from the lowest band to the highest, for EAT-base.
VISIBLE_PER_BAND = [0.149, 0.190, 0.228, 0.229, 0.230, 0.229, 0.190, 0.149]


def reference_blocks(centers, steps, bands, block):
    """
    Inverse block masks in plain numpy (A. Baevski et al. 2023, section 3.2: "blocks" of patches to keep; W. Chen et
    al. 2024, section 3.2): patches drawn uniformly are the centers of square blocks, cut off at the edges of the grid.
    """
    grids = np.zeros((len(centers), steps, bands), bool)
    for grid, own in zip(grids, centers, strict=True):
        for center in own:
            step, band = divmod(int(center), bands)
            top, left = max(0, step - block // 2), max(0, band - block // 2)
            grid[top : step - block // 2 + block, left : band - block // 2 + block] = True
    return grids


def reference_masks(rows, steps, bands, visible, blocks, block, rng):
    """Patches of the blocks are dropped, or others added, uniformly until `visible` are left."""
    grids = reference_blocks(rng.integers(steps * bands, size=(rows, blocks)), steps, bands, block)
    for grid in grids:
        surplus = grid.sum() - visible
        chosen = rng.choice(np.flatnonzero(grid if surplus > 0 else ~grid), size=abs(surplus), replace=False)
        grid.ravel()[chosen] = surplus < 0
    return grids


def visible_grid(masks, steps, bands):
    return torch.zeros(len(masks), steps * bands).scatter(1, masks, 1.0).view(-1, steps, bands).numpy()


PUBLISHED_MASKS = [(0.8, 0.07, 5), (0.75, 0.1, 7)]  # mask ratio, adjustment and number of blocks: EAT-base, EAT-large


@pytest.mark.parametrize(("ratio", "adjust", "blocks"), PUBLISHED_MASKS)
def test_masks_are_visible_at_the_edges_as_in_the_reference(ratio, adjust, blocks):
    """Independent draws of both; a difference is measured in its standard error, for steps about 4 % of the share."""
    ours = inverse_block_masks(2_000, 64, 8, ratio, 5, [torch.Generator().manual_seed(0)], adjust)[0]
    ours = visible_grid(ours, 64, 8)
    theirs = reference_masks(2_000, 64, 8, int(512 * (1 - ratio) + 1e-9), blocks, 5, np.random.default_rng(0))
    assert (ours.sum((1, 2)) == theirs.sum((1, 2))[0]).all()
    for axis in (1, 2):  # bands, steps
        shares = [masks.mean(axis) for masks in (ours, theirs)]
        error = np.sqrt(sum(share.var(0) / len(share) for share in shares))
        assert np.abs((shares[0].mean(0) - shares[1].mean(0)) / error).max() < 4
    if blocks == 5:
        np.testing.assert_allclose(ours.mean((0, 1)), VISIBLE_PER_BAND, atol=0.005)
        assert ours.mean((0, 2))[0] == pytest.approx(0.131, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "adjust", "blocks"), PUBLISHED_MASKS)
def test_mask_statistics_are_those_of_the_reference_within_a_percent(ratio, adjust, blocks):
    """
    20 000 masks, every band and time step. Of independent draws the standard error of a step's share is 1.0 to 1.3 %
    of it for each of the two, so that chance alone makes differences of 3 %. Here both have the same blocks, and the
    reference is the expectation over what is then dropped or added: a standard error of 0.25 % is left.
    """
    masks = inverse_block_masks(20_000, 64, 8, ratio, 5, [torch.Generator().manual_seed(0)], adjust)[0]
    ours = visible_grid(masks, 64, 8)
    # The centers of the blocks are the first numbers that are drawn.
    centers = torch.randint(0, 512, (20_000, blocks), generator=torch.Generator().manual_seed(0))
    inside = reference_blocks(centers.numpy(), 64, 8, 5)
    count, visible = inside.sum((1, 2), keepdims=True), int(512 * (1 - ratio) + 1e-9)
    expected = np.where(inside, np.minimum(1, visible / count), np.maximum(0, (visible - count) / (512 - count)))
    for axis in (1, 2):  # bands, steps
        difference, share = (ours - expected).mean(axis), expected.mean(axis).mean(0)
        assert (difference.std(0) / np.sqrt(20_000) / share).max() < 0.0035
        np.testing.assert_allclose(ours.mean(axis).mean(0), share, rtol=0.01)


def test_an_adjustment_changes_how_much_of_the_visible_part_is_blocks():
    few, many = (
        visible_grid(inverse_block_masks(300, 64, 8, 0.8, 5, [torch.Generator().manual_seed(0)], adjust)[0], 64, 8)
        for adjust in (-0.1, 0.07)
    )
    neighbors = [(grid[:, 1:] * grid[:, :-1]).sum() / grid.sum() for grid in (few, many)]
    assert neighbors[0] < neighbors[1] - 0.1


@pytest.mark.parametrize("ema", [False, True])
def test_a_checkpoint_in_the_layout_of_eat_large_is_converted(ema, tmp_path):
    """Three layers of 5x5 in the decoder; no settings beside the weights, and heads of 64 channels."""
    shape: dict[str, Any] = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = EatConfig(**shape, intermediate_size=512, decoder_layers=3, decoder_kernel=5)
    model = randomized(EatForPreTraining(config))
    content = fairseq(model) | {"args": argparse.Namespace(arch="eat_large"), "cfg": None}
    torch.save(content, tmp_path / "eat_large.pt")
    folder = convert_eat(tmp_path / "eat_large.pt", tmp_path / "out", ema=ema)
    loaded = EatForPreTraining.from_pretrained(folder)
    assert loaded.config.decoder_kernel == 5 and loaded.config.decoder_layers == 3
    assert_same_weights(loaded.decoder, model.decoder)
    assert_same_weights(AutoModel.from_pretrained(folder), model.teacher if ema else model.eat)
    with pytest.raises(ValueError, match="decoder_kernel is 4; accepted are odd numbers"):
        EatConfig(decoder_kernel=4)


def test_the_decoder_is_the_published_one_for_any_kernel():
    """Convolution, norm over channels without weights, GELU, and the input added, then a linear layer."""
    config = EatConfig(hidden_size=32, num_attention_heads=2, decoder_layers=2, decoder_kernel=5, decoder_groups=4)
    decoder = randomized(EatForPreTraining(config)).decoder.double()
    grid = torch.randn(2, 32, 6, 4, dtype=torch.float64)
    expected = grid.numpy()
    for convolution in decoder.convolutions:
        kernel, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
        padded = np.pad(expected, ((0, 0), (0, 0), (2, 2), (2, 2)))
        filtered = np.zeros_like(expected)
        for channel in range(32):
            group = slice(channel // 8 * 8, channel // 8 * 8 + 8)
            for step, band in np.ndindex(6, 4):
                part = padded[:, group, step : step + 5, band : band + 5]
                filtered[:, channel, step, band] = (part * kernel[channel]).sum((1, 2, 3)) + bias[channel]
        mean, variance = filtered.mean(1, keepdims=True), filtered.var(1, keepdims=True)
        normalized = (filtered - mean) / np.sqrt(variance + 1e-5)
        expected = expected + torch.nn.functional.gelu(torch.from_numpy(normalized)).numpy()
    weight, bias = (tensor.detach().numpy() for tensor in (decoder.projection.weight, decoder.projection.bias))
    expected = expected.reshape(2, 32, -1).transpose(0, 2, 1) @ weight.T + bias
    np.testing.assert_allclose(decoder(grid).detach().numpy(), expected, atol=1e-9)


def test_initial_weights_are_the_published_ones():
    """
    CLS token: standard deviation 1. Patch convolution: Xavier over the flattened patch. Decoder: PyTorch's defaults.
    All linear layers of the encoder: normal with 0.02, and no bias.
    """
    torch.manual_seed(0)
    model = EatForPreTraining(EatConfig(num_hidden_layers=1))
    patches, convolution = model.eat.embeddings.patch_embedding, model.decoder.convolutions[0]
    assert model.eat.embeddings.cls_token.std().item() == pytest.approx(1, abs=0.1)
    assert patches.weight.std().item() == pytest.approx(0.044, abs=0.001)
    assert patches.weight.abs().max().item() == pytest.approx((6 / (768 + 256)) ** 0.5, abs=1e-4)
    assert patches.bias.abs().max().item() == pytest.approx(1 / 16, abs=1e-3)
    assert convolution.weight.std().item() == pytest.approx(0.028, abs=0.001)
    assert convolution.bias.abs().max().item() == pytest.approx((48 * 9) ** -0.5, abs=1e-3)
    assert model.decoder.projection.weight.abs().max().item() == pytest.approx(768**-0.5, abs=1e-4)
    linear = model.eat.layers[0].mlp.fc1
    assert linear.weight.std().item() == pytest.approx(0.02, abs=0.001) and not linear.bias.any()
    # The teacher is a copy, and the other choice is normal everywhere.
    assert_same_weights(model.teacher, model.eat)
    model = EatForPreTraining(EatConfig(num_hidden_layers=1, initial_weights="normal"))
    for weight in (model.eat.embeddings.cls_token, patches.weight, model.decoder.convolutions[0].weight):
        assert weight is patches.weight or weight.std().item() == pytest.approx(0.02, abs=0.002)
    with pytest.raises(ValueError, match="initial_weights is 'x'; accepted are published, normal"):
        EatConfig(initial_weights="x")


def test_a_decoder_that_published_encoders_lack_starts_with_the_published_weights(tmp_path):
    EatModel(EatConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(tmp_path)
    decoder = EatForPreTraining.from_pretrained(tmp_path).decoder
    assert decoder.convolutions[0].weight.abs().max().item() == pytest.approx(1 / 6, abs=1e-3)  # 4 channels, 3 x 3


def test_clips_of_a_fixed_length_are_those_of_eat():
    """10 s have 998 frames; EAT fills them up to 1024 with zeros before it normalizes, and cuts longer ones."""
    extractor = EatFeatureExtractor(num_frames=1024)
    noise = 0.1 * np.random.default_rng(0).standard_normal(192_000).astype(np.float32)
    clips = [noise[:160_000], noise]
    values = extractor(clips, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    assert values["input_values"].shape == (2, 1024, 128)
    assert values["attention_mask"].sum(1).tolist() == [998, 1024]
    filled = values["input_values"][0, 998:]
    torch.testing.assert_close(filled, torch.full_like(filled, 4.268 / (2 * 4.569)))
    exact = EatFeatureExtractor()(clips[1], sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(values["input_values"][1], exact[0, :1024])
    with pytest.raises(ValueError, match="num_frames is 1000; accepted are multiples of patch_size"):
        EatFeatureExtractor(num_frames=1000)


@pytest.mark.slow
def test_pretraining_with_a_fixed_length_takes_each_clip_whole(clips, tmp_path, monkeypatch):
    shapes = []
    masks = pretraining.inverse_block_masks

    def keep(rows, steps, bands, *args):
        shapes.append((steps, bands))
        return masks(rows, steps, bands, *args)

    monkeypatch.setattr(pretraining, "inverse_block_masks", keep)
    encoder = pretrain(clips, PretrainConfig(**PRETRAIN | {"crop_seconds": 10.0}, input_frames=128), tmp_path / "run")
    assert set(shapes) == {(8, 8)}  # one second has 98 frames
    assert EatFeatureExtractor.from_pretrained(encoder).num_frames == 128
    with pytest.raises(ValueError, match="input_frames is 128, which fills up clips"):
        PretrainConfig(input_frames=128, noise_probability=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "expected"), [(0.5, [0.6, 0.9, 0.9, 0.9]), (3, [0.5, 0.7, 0.9, 0.9]), (None, [0.45, 0.6, 0.75, 0.9])]
)
def test_the_decay_rises_over_its_steps(clips, tmp_path, monkeypatch, steps, expected):
    decays = []
    monkeypatch.setattr(EatForPreTraining, "update_teacher", lambda self, decay: decays.append(decay))
    options = PRETRAIN | {"max_steps": 4, "ema_decay_start": 0.3, "ema_decay_end": 0.9}
    pretrain(clips, PretrainConfig(**options, ema_anneal_steps=steps), tmp_path / "run")
    assert decays == pytest.approx(expected)
