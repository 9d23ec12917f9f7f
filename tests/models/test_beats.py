import copy
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import fill_with_waves, golden_clip, read_golden
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from hf_asd import BeatsConfig, BeatsFeatureExtractor, BeatsModel
from hf_asd.models.beats.modeling_beats import BeatsRelativePositionBias


TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_embedding_size": 16,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "num_buckets": 32,
    "max_distance": 40,
}
GOLDEN = read_golden("beats")


@pytest.fixture
def model():
    return fill_with_waves(BeatsModel(BeatsConfig(**TINY)))


def features(clips, **kwargs):
    return BeatsFeatureExtractor()(clips, sampling_rate=16_000, return_tensors="pt", **kwargs)


def test_filter_bank_is_the_official_one():
    golden = GOLDEN["log_mel"]
    log_mel = BeatsFeatureExtractor().log_mel(torch.from_numpy(golden_clip(1))[None])[0]
    assert log_mel.shape == (98, 128)
    found = log_mel[golden["frames"]][:, golden["bands"]]
    torch.testing.assert_close(found, torch.tensor(golden["values"]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['seconds']} s", marks=[pytest.mark.slow] * (case["seconds"] >= 60))
        for case in GOLDEN["hidden_states"]
    ],
)
def test_hidden_states_are_those_of_the_official_code(model, case):
    with torch.inference_mode():
        outputs = model(features(golden_clip(case["seconds"]))["input_values"], output_hidden_states=True)
    assert len(outputs.hidden_states) == 3
    torch.testing.assert_close(outputs.hidden_states[2], outputs.last_hidden_state, rtol=0, atol=0)
    for layer, values in case["hidden_states"].items():
        found = outputs.hidden_states[int(layer)][0, case["tokens"], :8]
        torch.testing.assert_close(found, torch.tensor(values), rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padded_time_is_masked_as_in_the_official_code(model, attention):
    model.set_attn_implementation(attention)
    golden = GOLDEN["padded"]
    clips = np.stack([golden_clip(golden["seconds"])] * 2)
    clips[1, golden["samples_of_the_second"] :] = 0
    values = features(clips)["input_values"]
    mask = torch.ones(values.shape[:2])
    mask[1, golden["frames_of_the_second"] :] = 0
    with torch.inference_mode():
        found = model(values, attention_mask=mask).last_hidden_state[1, golden["tokens"], :8]
        unmasked = model(values).last_hidden_state[1, golden["tokens"], :8]
    expected = torch.tensor(golden["last_hidden_state"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (unmasked - expected).abs().max() > 1e-2


def test_a_clip_in_a_padded_batch_is_as_it_is_alone(model):
    clips = [golden_clip(3), golden_clip(1.27), golden_clip(0.2)]
    together = features(clips, return_attention_mask=True)
    assert together["attention_mask"].sum(1).tolist() == [298, 125, 18]
    with torch.inference_mode():
        batch = model(**together).last_hidden_state
        for row, clip in zip(batch, clips, strict=True):
            alone = model(features(clip)["input_values"]).last_hidden_state[0]
            torch.testing.assert_close(row[: len(alone)], alone, rtol=0, atol=1e-5)
    # A clip without a single whole patch has outputs that mean nothing, and no NaN that would spread.
    together["attention_mask"][2] = 0
    with torch.inference_mode():
        assert model(**together).last_hidden_state.isfinite().all()


def test_distances_fall_into_the_buckets_of_t5():
    bias = BeatsRelativePositionBias(BeatsConfig(num_buckets=32, max_distance=128, num_attention_heads=2, **SMALL))
    # One by one below 8, then ever wider, and all alike from 128 on; keys behind the query in the upper half.
    distances = torch.tensor([0, -1, 1, -7, 7, -8, -11, -12, -127, -128, -3_000, 3_000])
    assert bias.buckets(distances).tolist() == [0, 1, 17, 7, 23, 8, 8, 9, 15, 15, 15, 31]
    with torch.no_grad():
        table = bias(5)
    assert table.shape == (1, 2, 5, 5)
    for query in range(5):
        for key in range(5):
            bucket = bias.buckets(torch.tensor(key - query))
            assert torch.equal(table[0, :, query, key], bias.embedding.weight[bucket])


SMALL = {"hidden_size": 32, "num_hidden_layers": 1}


def test_checkpointing_does_not_change_gradients(model):
    other = copy.deepcopy(model).train()
    other.activation_checkpointing_enable()
    values = features(np.stack([golden_clip(1)] * 2))["input_values"]
    values[1] = values[1].flip(0)
    for candidate in (model, other):
        candidate(values).last_hidden_state.square().mean().backward()
    assert other.layers[0].gradient_checkpointing and not model.layers[0].gradient_checkpointing
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        # Those of key biases vanish: they shift all of a query's scores alike.
        assert a.grad.abs().max() > 0 or "k_proj.bias" in name, name
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_features_are_those_of_samples_of_16_bits_and_not_filled_up():
    extractor = BeatsFeatureExtractor()
    clip = golden_clip(1)
    log_mel = extractor.log_mel(torch.from_numpy(clip)[None])
    values = features(clip)["input_values"]
    assert values.shape == (1, 98, 128) and values.dtype == torch.float32
    torch.testing.assert_close(values, (log_mel - 15.41663) / (2 * 6.55582))
    # In a batch the shorter ones end in what silence looks like.
    values = features([clip, clip[:8_000], np.zeros(4_000, np.float32)])["input_values"]
    torch.testing.assert_close(values[1, 48:], values[2, :1].expand(50, -1))
    with pytest.raises(ValueError, match=r"found \(2799,\); accepted are mono .* at least 2800 samples"):
        features(clip[:2_799])


def test_model_and_extractor_round_trip_through_auto_classes(model, tmp_path):
    model.save_pretrained(tmp_path)
    BeatsFeatureExtractor(mean=15.0).save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), BeatsConfig)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(extractor, BeatsFeatureExtractor) and extractor.mean == 15.0
    assert extractor.to_dict() == BeatsFeatureExtractor(mean=15.0).to_dict()
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is BeatsModel and not loaded.training
    values = features(golden_clip(1))["input_values"]
    with torch.inference_mode():
        assert torch.equal(loaded(values).last_hidden_state, model(values).last_hidden_state)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_plain_attention_equals_sdpa(model, tmp_path):
    model.save_pretrained(tmp_path)
    eager = AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    values = features(golden_clip(1))["input_values"]
    with torch.inference_mode():
        outputs = eager(values, output_attentions=True)
        torch.testing.assert_close(outputs.last_hidden_state, model(values).last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs.attentions[0].sum(-1), torch.ones(1, 2, 48))


def test_wrong_and_partial_weights_are_refused_by_name(model, tmp_path):
    weights = model.state_dict()
    del weights["layers.1.attention.gate.bias"]
    weights["layers.0.gamma"] = torch.ones(1)
    weights["norm.weight"] = torch.ones(3)
    model.save_pretrained(tmp_path, state_dict=weights)
    message = (
        r"the weights do not fit .* missing: layers.1.attention.gate.bias; surplus: layers.0.gamma; "
        r"of another shape: norm.weight \(3,\) instead of \(32,\)"
    )
    with pytest.raises(ValueError, match=message):
        AutoModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 30}, "hidden_size is 30; accepted are multiples of num_attention_heads"),
        ({"num_mel_bins": 100}, "num_mel_bins is 100; accepted are multiples of patch_size"),
        ({"num_buckets": 30}, "num_buckets is 30; accepted are multiples of 4"),
        ({"max_distance": 80}, "max_distance is 80; accepted are values above a quarter of num_buckets"),
    ],
)
def test_impossible_shapes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BeatsConfig(**options)


def test_other_spectrograms_are_refused(model):
    for shape in ((1, 32, 64), (1, 15, 128)):
        with pytest.raises(ValueError, match=r"accepted is \(clips, frames, 128\) with at least 16 frames"):
            model(torch.zeros(shape))


def test_the_default_size_is_the_published_one():
    with torch.device("meta"):
        model = BeatsModel(BeatsConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 90_311_792
    assert model.config.residual_scale == pytest.approx(24**0.25)
    assert BeatsFeatureExtractor().patch_size == model.config.patch_size
