import copy
from typing import Any

import numpy as np
import pytest
import torch
from golden_recipe import fill_with_waves, golden_clip, read_golden
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from hf_asd import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel
from hf_asd.models.eat.modeling_eat import sincos_positions
from hf_asd.models.eat.pretraining_eat import TEMPERATURE, ema_decay, inverse_block_masks


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
GOLDEN = read_golden("eat")


def waves(count=3, samples=20_000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal((count, samples))).astype(np.float32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return EatModel(EatConfig(**TINY)).eval()


def test_filter_bank_is_kaldis():
    """Against transformers' numpy implementation with Kaldi's settings."""
    filters = mel_filter_bank(
        257, 128, 20, 8_000, 16_000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    clips = waves() + 0.05  # a mean that has to be taken off
    ours = EatFeatureExtractor().log_mel(torch.from_numpy(clips)).numpy()
    for clip, log_mel in zip(clips, ours, strict=True):
        theirs = spectrogram(
            (clip - clip.mean()).astype(np.float64),
            window_function(400, "hann", periodic=False),
            frame_length=400,
            hop_length=160,
            fft_length=512,
            power=2.0,
            center=False,
            preemphasis=0.97,
            mel_filters=filters,
            log_mel="log",
            mel_floor=float(np.finfo(np.float32).eps),
            remove_dc_offset=True,
        ).T
        assert log_mel.shape == theirs.shape == ((20_000 - 400) // 160 + 1, 128)
        np.testing.assert_allclose(log_mel, theirs, atol=2e-3)


def test_features_are_normalized_and_filled_up_to_whole_patches():
    extractor = EatFeatureExtractor()
    clips = list(waves())
    values = extractor(clips, sampling_rate=16_000, return_tensors="pt")["input_values"]
    log_mel = extractor.log_mel(torch.from_numpy(np.stack(clips)))
    assert values.shape == (3, 128, 128) and values.dtype == torch.float32
    torch.testing.assert_close(values[:, :123], (log_mel + 4.268) / (2 * 4.569))
    torch.testing.assert_close(values[:, 123:], torch.full((3, 5, 128), 4.268 / (2 * 4.569)))
    plain = EatFeatureExtractor(do_normalize=False)(clips, sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(plain[:, :123], log_mel)


def test_recordings_of_unequal_length_are_filled_up_to_the_longest():
    extractor = EatFeatureExtractor()
    long, short = waves(1)[0], waves(1, 9_000, seed=1)[0]
    together = extractor([long, short], sampling_rate=16_000, return_tensors="pt")["input_values"]
    alone = extractor(short, sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(together[1, :54], alone[0, :54])
    assert together.shape == (2, 128, 128) and alone.shape == (1, 64, 128)
    as_tensor = extractor(torch.from_numpy(short), sampling_rate=16_000, return_tensors="pt")["input_values"]
    assert torch.equal(as_tensor, alone)


@pytest.mark.parametrize(
    ("speech", "rate", "message"),
    [
        (waves(), 44_100, "sampling_rate is 44100; accepted is 16000"),
        (waves(), None, "sampling_rate is None"),
        ([], 16_000, "found no recording"),
        (waves(2, 300), 16_000, r"found \(300,\); accepted are mono"),
        ([waves(2)], 16_000, r"found \(2, 20000\); accepted are mono"),
    ],
)
def test_what_the_extractor_cannot_use_is_named(speech, rate, message):
    with pytest.raises(ValueError, match=message):
        EatFeatureExtractor()(speech, sampling_rate=rate)


def test_model_and_extractor_round_trip_through_auto_classes(model, tmp_path):
    model.save_pretrained(tmp_path)
    EatFeatureExtractor(mean=-5.0).save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), EatConfig)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(extractor, EatFeatureExtractor) and extractor.mean == -5.0
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    values = extractor(waves(), sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        assert torch.equal(loaded(values).last_hidden_state, model(values).last_hidden_state)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("frames", [16, 48, 1_600])
def test_any_length_is_taken(model, frames):
    with torch.inference_mode():
        outputs = model(torch.randn(2, frames, 128), output_hidden_states=True)
    assert outputs.last_hidden_state.shape == (2, 1 + frames // 16 * 8, 32)
    assert len(outputs.hidden_states) == 3
    assert torch.equal(outputs.pooler_output, outputs.last_hidden_state[:, 0])
    with pytest.raises(ValueError, match=r"accepted is \(clips, frames, 128\)"):
        model(torch.randn(2, frames, 64))


def test_plain_attention_equals_sdpa(model, tmp_path):
    model.save_pretrained(tmp_path)
    eager = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    values = torch.randn(2, 64, 128)
    with torch.inference_mode():
        outputs = eager(values, output_attentions=True)
        torch.testing.assert_close(outputs.last_hidden_state, model(values).last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs.attentions[0].sum(-1), torch.ones(2, 2, 33))


def test_checkpointing_does_not_change_gradients(model):
    other = copy.deepcopy(model).train()
    other.activation_checkpointing_enable()
    values = torch.randn(2, 64, 128)
    for candidate in (model, other):
        candidate(values).last_hidden_state.square().mean().backward()
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_filter_bank_is_the_published_codes():
    golden = GOLDEN["log_mel"]
    log_mel = EatFeatureExtractor().log_mel(torch.from_numpy(golden_clip(1))[None])[0]
    assert log_mel.shape == (98, 128)
    found = log_mel[golden["frames"]][:, golden["bands"]]
    torch.testing.assert_close(found, torch.tensor(golden["values"]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['seconds']} s", marks=[pytest.mark.slow] * (case["seconds"] >= 60))
        for case in GOLDEN["outputs"]
    ],
)
def test_outputs_are_those_of_the_published_code(model, case):
    fill_with_waves(model)
    values = EatFeatureExtractor()(golden_clip(case["seconds"]), sampling_rate=16_000, return_tensors="pt")
    mlp_outputs = []
    for layer in model.layers:
        layer.mlp.register_forward_hook(lambda module, args, output: mlp_outputs.append(output[0]))
    with torch.inference_mode():
        tokens = model(values["input_values"]).last_hidden_state[0]
    torch.testing.assert_close(tokens[case["tokens"], :8], torch.tensor(case["last_hidden_state"]), rtol=0, atol=1e-4)
    assert len(mlp_outputs) == 2
    # They are what pre-training predicts.
    for layer, expected in case.get("mlp_outputs", {}).items():
        found = mlp_outputs[int(layer) - 1][case["tokens"], :8]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_padded_time_is_masked_as_in_the_published_code(model):
    fill_with_waves(model)
    golden = GOLDEN["padded"]
    clips = np.stack([golden_clip(golden["seconds"])] * 2)
    features = EatFeatureExtractor()(clips, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    assert features["attention_mask"].sum(1).tolist() == [298, 298] and features["input_values"].shape[1] == 304
    features["attention_mask"][1, golden["frames_of_the_second"] :] = 0
    with torch.inference_mode():
        found = model(**features).last_hidden_state[1, golden["tokens"], :8]
    torch.testing.assert_close(found, torch.tensor(golden["last_hidden_state"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("options", "published"), [({}, 89_972_736), (LARGE, 308_867_072)])
def test_sizes_are_the_published_ones(options, published):
    with torch.device("meta"):
        model = EatModel(EatConfig(**options))
    table = 768 * 8 * model.config.hidden_size  # of positions, which we compute
    assert sum(parameter.numel() for parameter in model.parameters()) + table == published


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_masked_frames_do_not_reach_a_clip(model, attention):
    model.set_attn_implementation(attention)
    values = torch.randn(2, 80, 128)
    mask = torch.ones(2, 80)
    mask[1, 40:] = 0  # in the middle of the third patch, which is heard
    with torch.inference_mode():
        together = model(values, attention_mask=mask).last_hidden_state
        alone = model(values[1:, :48]).last_hidden_state
        torch.testing.assert_close(together[1:, : 1 + 3 * 8], alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(together[:1], model(values[:1]).last_hidden_state, rtol=0, atol=1e-6)
        assert (model(values).last_hidden_state[1, : 1 + 3 * 8] - alone[0]).abs().max() > 1e-3


def test_positions_are_the_published_ones():
    positions = sincos_positions(5, 8, 16, torch.device("cpu"))
    for step, band, pair in ((0, 0, 0), (3, 5, 1), (4, 7, 3)):
        row, rate = positions[step * 8 + band], 10_000 ** (-pair / 4)
        for offset, place in ((0, band), (8, step)):
            assert row[offset + pair].item() == pytest.approx(np.sin(place * rate), abs=1e-6)
            assert row[offset + 4 + pair].item() == pytest.approx(np.cos(place * rate), abs=1e-6)


def test_masks_keep_exactly_as_many_patches_in_blocks():
    masks = inverse_block_masks(300, 62, 8, 0.8, 5, [torch.Generator().manual_seed(0)])[0]
    assert masks.shape == (300, int(62 * 8 * 0.2)) and (masks.diff(dim=1) > 0).all()
    grid = torch.zeros(300, 62 * 8).scatter(1, masks, 1.0).view(300, 62, 8)
    neighbors = (grid[:, 1:] * grid[:, :-1]).sum() / grid.sum()
    assert neighbors > 0.5  # patches drawn one by one would have 0.2
    assert not torch.equal(masks[0], masks[1])
    assert inverse_block_masks(2, 1, 8, 0.8, 5, [torch.Generator()]).shape == (1, 2, 1)


def pretraining_model(**options):
    torch.manual_seed(0)
    return EatForPreTraining(EatConfig(**TINY, decoder_layers=2, **options))


def test_pretraining_starts_with_a_copy_as_teacher_that_follows():
    model = pretraining_model()
    student, teacher = model.eat.layers[0].mlp.fc1.weight, model.teacher.layers[0].mlp.fc1.weight
    assert torch.equal(student, teacher) and student is not teacher and not teacher.requires_grad
    with torch.no_grad():
        student += 1
    before = teacher.clone()
    model.update_teacher(0.9)
    torch.testing.assert_close(teacher, before + 0.1)
    assert [ema_decay(step, 0.9, 1.0, 10) for step in (0, 5, 10, 20)] == pytest.approx([0.9, 0.95, 1.0, 1.0])


def test_targets_are_normalized_and_cover_the_patches():
    targets, states = pretraining_model().targets(torch.randn(2, 64, 128))
    assert states.shape == (2, 32, 32)
    assert targets.shape == (2, 32, 32)
    torch.testing.assert_close(targets.mean(-1), torch.zeros(2, 32), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets.var(-1, unbiased=False), torch.ones(2, 32), atol=1e-2, rtol=0)


def test_the_loss_is_over_masked_patches_only_and_falls():
    model = pretraining_model()
    values = torch.randn(4, 64, 128)
    generator = torch.Generator().manual_seed(0)
    visible = inverse_block_masks(8, 4, 8, 0.75, 2, [generator])[0].unflatten(0, (4, 2))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    outputs = model(values, visible, torch.arange(4))
    for _ in range(30):
        outputs = model(values, visible, torch.arange(4))
        optimizer.zero_grad()
        outputs.loss.backward()
        optimizer.step()
        losses.append(outputs.loss.item())
    assert losses[-1] < 0.6 * losses[0]
    torch.testing.assert_close(outputs.loss, outputs.frame_loss + outputs.utterance_loss)
    assert outputs.targets.flatten(0, 1).std(0).mean() > 0.5
    assert outputs.agreement > 0.2

    # With targets that differ from the prediction at visible places alone the frame loss would be zero.
    with torch.no_grad():
        torch.manual_seed(0)
        model.decoder.projection.weight.zero_()
        model.decoder.projection.bias.zero_()
        expected = model.targets(values)[0].square().sum(-1) * 32**-0.5
        hidden = torch.ones(4, 2, 32).scatter(2, visible, 0.0)
        outputs = model(values, visible, torch.arange(4))
        torch.testing.assert_close(outputs.frame_loss, (expected[:, None] * hidden).sum() / hidden.sum())


def test_the_contrast_is_infonce_with_standardized_embeddings():
    model = pretraining_model(projection_size=8)
    views, embeddings = torch.randn(5, 2, 32), 3 + torch.randn(5, 32)
    with torch.no_grad():
        found = model.contrast(views, embeddings).item()
        standardized = (embeddings - embeddings.mean(0)) / embeddings.std(0, correction=0)
        keys = model.teacher_projector(standardized).numpy()
        queries = model.projector((views - embeddings.mean(0)) / embeddings.std(0, correction=0)).numpy()
    losses = []
    for clip in range(5):
        for query in queries[clip]:
            similar = np.exp([query @ key / TEMPERATURE for key in keys])
            losses.append(-np.log(similar[clip] / similar.sum()))
    assert found == pytest.approx(np.mean(losses), abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(keys, axis=-1), 1, atol=1e-5)


def test_the_projector_learns_and_its_teacher_follows():
    model = pretraining_model(projection_size=8)
    values = torch.randn(4, 64, 128)
    visible = inverse_block_masks(8, 4, 8, 0.75, 2, [torch.Generator().manual_seed(0)])[0].unflatten(0, (4, 2))
    outputs = model(values, visible, torch.arange(4), student_values=values + 1, contrast_weight=0.5)
    losses = outputs.frame_loss + outputs.utterance_loss + 0.5 * outputs.contrast_loss
    torch.testing.assert_close(outputs.loss, losses)
    outputs.loss.backward()
    assert model.projector.fc1.weight.grad.abs().max() > 0 and model.teacher_projector.fc1.weight.grad is None
    before = model.teacher_projector.fc2.weight.clone()
    with torch.no_grad():
        model.projector.fc2.weight += 1
    model.update_teacher(0.9)
    torch.testing.assert_close(model.teacher_projector.fc2.weight, before + 0.1)
    # What the student hears is not what the targets are made of.
    as_before = model(values, visible, torch.arange(4), student_values=values - 1)
    torch.testing.assert_close(as_before.targets, model.targets(values)[0])
