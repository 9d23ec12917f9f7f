import threading

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    AutoModel,
    CLIPVisionConfig,
    HubertConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)

from hf_asd import (
    AnomalyDetector,
    AttributeClassifier,
    AttributeClassifierConfig,
    BeatsConfig,
    BeatsFeatureExtractor,
    DetectorConfig,
    EatConfig,
    EatFeatureExtractor,
    SpectralStatistics,
    TransformerEncoder,
    embed,
    load_folder,
)
from hf_asd.audio.reading import BadAudioError
from hf_asd.audio.windows import read_windows
from hf_asd.embedding import precision
from hf_asd.models.encoders import get_layers


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for clip in range(10):
        soundfile.write(tmp_path / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    return load_folder(tmp_path)["train"]


class Counting:
    """Mean and spread of the samples; counts clips, and stops working after `breaks_after` of them."""

    dimensions, description, fingerprint = 2, "mean and spread", "mean and spread"

    def __init__(self, breaks_after=None):
        self.clips = 0
        self.breaks_after = breaks_after

    def __call__(self, clips):
        self.clips += len(clips)
        if self.breaks_after is not None and self.clips > self.breaks_after:
            raise KeyboardInterrupt
        return np.array([[clip.mean(), clip.std()] for clip in clips], dtype=np.float32)


def test_embedding_goes_on_where_it_stopped(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_asd.embedding.embed.SHARD_ROWS", 4)
    with pytest.raises(KeyboardInterrupt):
        embed(clips, Counting(breaks_after=8), tmp_path / "parts")
    rest = Counting()
    resumed = embed(clips, rest, tmp_path / "parts")
    assert rest.clips == 2
    assert resumed["embedding"][:] == embed(clips, Counting())["embedding"][:]
    assert resumed["clip_id"][:] == clips["clip_id"][:]


def test_the_next_batch_is_decoded_while_one_is_embedded(clips, monkeypatch):
    monkeypatch.setattr("hf_asd.embedding.embed.BATCH_CLIPS", 5)
    decoded, is_next_decoded = [], threading.Event()

    def read(*args):
        for window in read_windows(*args):
            decoded.append(window)
            if len(decoded) > 5:
                is_next_decoded.set()
            yield window

    class Waiting(Counting):
        def __call__(self, clips):
            assert is_next_decoded.wait(20)
            return super().__call__(clips)

    monkeypatch.setattr("hf_asd.embedding.embed.read_windows", read)
    assert len(embed(clips, Waiting())["embedding"]) == len(decoded) == 10


def test_a_folder_of_other_recordings_is_refused(clips, tmp_path):
    embed(clips, Counting(), tmp_path / "parts")
    with pytest.raises(ValueError, match="embeddings of other recordings"):
        embed(clips.select(range(3)), Counting(), tmp_path / "parts")


def test_embeddings_of_another_encoder_channel_or_changed_recording_are_not_reused(clips, tmp_path):
    embed(clips, Counting(), tmp_path / "parts")
    other = Counting()
    other.fingerprint = "another one"
    with pytest.raises(ValueError, match="parts: holds embeddings of another encoder; give another folder"):
        embed(clips, other, tmp_path / "parts")
    with pytest.raises(ValueError, match="parts: holds embeddings of another channel"):
        embed(clips, Counting(), tmp_path / "parts", channel="mean")
    soundfile.write(clips[3]["audio"]["path"], 0.3 + 1e-3 * np.resize([1, -1], 20_000), 16_000)
    again = Counting()
    assert embed(clips, again, tmp_path / "parts")["embedding"][3][0] == pytest.approx(0.3, abs=1e-3)
    assert again.clips == len(clips)  # the clips of one file of embeddings


def test_encoders_that_differ_have_different_fingerprints():
    config, extractor, _ = ENCODERS["eat"]
    encoders = [TransformerEncoder(random_model(config), extractor, **options) for options in OPTIONS]
    encoders += [SpectralStatistics(), SpectralStatistics("mean")]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)
    assert TransformerEncoder(random_model(config), extractor).fingerprint == encoders[0].fingerprint
    with torch.no_grad():
        next(encoders[0].model.parameters()).add_(1e-6)
    assert TransformerEncoder(random_model(config), extractor).fingerprint != encoders[0].fingerprint


def test_a_bad_recording_does_not_cost_finished_parts(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_asd.embedding.embed.SHARD_ROWS", 4)
    path = clips[9]["audio"]["path"]
    with open(path, "wb"):
        pass
    with pytest.raises(BadAudioError, match="9.wav: cannot be read as audio, the file has 0 bytes"):
        embed(clips, Counting(), tmp_path / "parts")
    soundfile.write(path, np.resize([0.1, -0.1], 16_000), 16_000)
    rest = Counting()
    embed(clips, rest, tmp_path / "parts")
    assert rest.clips == 2


def test_spectral_statistics_are_of_bands():
    samples = [np.sin(np.arange(16_000) * 0.3).astype(np.float32), np.ones(8_000, dtype=np.float32) * 0.1]
    samples[1][::7] = -0.2
    statistics, means = SpectralStatistics()(samples), SpectralStatistics("mean")(samples)
    assert statistics.shape == (2, 296) and means.shape == (2, 128)
    low, middle, high = statistics[:, :93].reshape(2, 3, 31).transpose(1, 0, 2)
    assert (low <= middle).all() and (middle <= high).all()
    # 0.3 rad a sample at 16 kHz are 764 Hz; the loudest band holds it.
    mel = 1127 * np.log(1 + np.array([20, 764, 8_000]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 129 - 1
    assert abs(means[0].argmax() - expected) <= 1
    with pytest.raises(ValueError, match="statistics is 'median'"):
        SpectralStatistics("median")


TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
WAVES = {
    **TINY,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.0,
}
ENCODERS = {
    "eat": (EatConfig(**TINY), EatFeatureExtractor(), 256),
    "beats": (BeatsConfig(**TINY, patch_embedding_size=16), BeatsFeatureExtractor(), 256),
    "ast": (ASTConfig(**TINY, max_length=64), ASTFeatureExtractor(max_length=64), 384),
    "wav2vec2": (Wav2Vec2Config(**WAVES), Wav2Vec2FeatureExtractor(), None),
    "wav2vec2, norm first": (Wav2Vec2Config(**WAVES, do_stable_layer_norm=True), Wav2Vec2FeatureExtractor(), None),
    "hubert": (HubertConfig(**WAVES), Wav2Vec2FeatureExtractor(), None),
    "wavlm": (WavLMConfig(**WAVES), Wav2Vec2FeatureExtractor(), None),
}

OPTIONS = ({}, {"pooling": "bands"}, {"layer": 2}, {"with_statistics": True}, {"clamp_outlier_channels": True})


def random_model(config):
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))  # norms that do something
    return model.eval()


def samples(*lengths):
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_layer_is_the_hidden_state_behind_that_block(name):
    config, extractor, bands = ENCODERS[name]
    clips = samples(10_200, 10_200)
    features = extractor(clips, sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        whole = random_model(config)(features, output_hidden_states=True)
    prefix = {"eat": 1, "ast": 2}.get(name, 0)
    assert len(whole.hidden_states) == 4
    for layer, index in ((1, 1), (2, 2), (-2, 2), (-3, 1)):
        encoder = TransformerEncoder(random_model(config), extractor, layer=layer)
        expected = whole.hidden_states[index][:, prefix:].mean(1)
        np.testing.assert_allclose(encoder(clips), expected, atol=1e-5)
        assert encoder.layer == index and encoder.model.config.num_hidden_layers == index
    mean_layer = TransformerEncoder(random_model(config), extractor, layer="mean")
    expected = torch.stack(whole.hidden_states[1:]).mean(0)[:, prefix:].mean(1)
    if name in ("eat", "beats"):  # the others have a norm behind their last block, which hidden_states shows
        np.testing.assert_allclose(mean_layer(clips), expected, atol=1e-5)
    assert mean_layer(clips).shape == expected.shape and mean_layer.model.config.num_hidden_layers == 3
    last = TransformerEncoder(random_model(config), extractor)
    np.testing.assert_allclose(last(clips), whole.last_hidden_state[:, prefix:].mean(1), atol=1e-5)
    if bands is None:
        with pytest.raises(ValueError, match="pooling is 'bands'"):
            TransformerEncoder(random_model(config), extractor, "bands")
    else:
        assert TransformerEncoder(random_model(config), extractor, "bands", layer=2)(clips).shape == (2, bands)


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_rounds_where_the_processor_gains_from_it(name, monkeypatch, caplog):
    config, extractor, _ = ENCODERS[name]
    clips = samples(10_200, 20_400)
    exact = TransformerEncoder(random_model(config), extractor)
    rounded = TransformerEncoder(random_model(config), extractor, precision="bf16")
    precision._say_once.cache_clear()
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    np.testing.assert_array_equal(rounded(clips), exact(clips))
    rounded(clips)
    assert caplog.text.count("which this processor does not compute faster; float32 is used instead") == 1
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    found, expected = rounded(clips), exact(clips)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert found.dtype == np.float32 and not np.array_equal(found, expected)
    assert cosines.min() > 0.98  # of random weights, whose attention is sharp
    with rounded.computing_in("fp32"):
        np.testing.assert_array_equal(rounded(clips), expected)
    assert rounded.fingerprint != exact.fingerprint and "bfloat16" in rounded.description
    with pytest.raises(ValueError, match="precision is 'int8'; accepted are fp32, bf16"):
        TransformerEncoder(random_model(config), extractor, precision="int8")


def test_layers_that_are_not_there_are_refused():
    config, extractor, _ = ENCODERS["eat"]
    for layer in (0, 4, -4):
        with pytest.raises(ValueError, match=f"layer is {layer}; this encoder has 3 layers: accepted are 1 to 3"):
            TransformerEncoder(random_model(config), extractor, layer=layer)
    with pytest.raises(ValueError, match="layer is 'last'; accepted are the number of a layer and 'mean'"):
        TransformerEncoder(random_model(config), extractor, layer="last")
    vision = AutoModel.from_config(CLIPVisionConfig(**TINY, image_size=32, patch_size=16))
    del vision.encoder.layers
    with pytest.raises(ValueError, match="layers in `layers` or `encoder.layers`"):
        TransformerEncoder(vision, extractor, layer=1)
    classifier = AttributeClassifier(AttributeClassifierConfig(encoder_config=config))
    with pytest.raises(ValueError, match="layer is 1, but this encoder was fine-tuned"):
        TransformerEncoder(classifier, extractor, layer=1)
    with pytest.raises(ValueError, match="layer is 1, which is for an encoder that you name"):
        AnomalyDetector(None, DetectorConfig(layer=1))


@pytest.fixture(params=ENCODERS)
def saved(request, tmp_path):
    """An encoder as it lies on disk, its extractor, and the poolings that it has."""
    config, extractor, bands = ENCODERS[request.param]
    random_model(config).save_pretrained(tmp_path / "encoder")
    extractor.save_pretrained(tmp_path / "encoder")
    poolings = {"mean": 32}
    if request.param in ("eat", "ast"):
        poolings["cls"] = 32
    if bands is not None:
        poolings |= {"bands": bands, "bands_std": 2 * bands}
    return tmp_path / "encoder", extractor, poolings


@pytest.mark.slow
def test_a_checkpoint_on_disk_embeds_short_and_long_clips(saved):
    folder, extractor, poolings = saved
    short, long = samples(16_000, 60 * 16_000)
    for pooling, size in poolings.items():
        for layer in (1, -1, None):
            encoder = TransformerEncoder.from_pretrained(folder, pooling, layer=layer)
            assert type(encoder.feature_extractor) is type(extractor)
            assert encoder([short]).shape == (1, size)
    together = encoder([short, long])
    np.testing.assert_allclose(together[:1], encoder([short]), atol=1e-5)
    # All of a long clip is heard: its end changes the embedding.
    long[-8_000:] *= 0.1
    assert np.abs(encoder([long]) - together[1:]).max() > 1e-5
    for pooling in {"cls", "bands", "bands_std"} - poolings.keys():
        with pytest.raises(ValueError, match=f"pooling is '{pooling}'"):
            TransformerEncoder.from_pretrained(folder, pooling)


def test_an_attribute_classifier_takes_the_checkpoint(saved, tmp_path):
    folder, extractor, poolings = saved
    encoder = AutoModel.from_pretrained(folder)
    clips = samples(10_400, 10_400)
    values = extractor(clips, sampling_rate=16_000, return_tensors="pt")["input_values"]
    for pooling, size in poolings.items():
        config = AttributeClassifierConfig(encoder_config=encoder.config, pooling=pooling, id2label={0: "a", 1: "b"})
        classifier = AttributeClassifier(config)
        classifier.encoder.load_state_dict(encoder.state_dict())
        classifier.train().activation_checkpointing_enable()
        outputs = classifier(values, labels=torch.tensor([0, 1]))
        assert outputs.embeddings.shape == (2, size)
        outputs.loss.backward()
        for block in get_layers(classifier.encoder):
            assert block.gradient_checkpointing
            gradients = [parameter.grad for parameter in block.parameters() if parameter.grad is not None]
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert sum(bool(gradient.any()) for gradient in gradients) > len(gradients) / 2
        classifier.eval().save_pretrained(tmp_path / pooling)
        extractor.save_pretrained(tmp_path / pooling)
        embedded = TransformerEncoder.from_pretrained(tmp_path / pooling)(clips)
        np.testing.assert_allclose(embedded, TransformerEncoder(encoder, extractor, pooling)(clips), atol=1e-5)


@pytest.mark.parametrize("name", ["eat", "beats", "ast", "wavlm"])
def test_a_detector_keeps_its_layer(name, clips, tmp_path):
    config, extractor, _ = ENCODERS[name]
    random_model(config).save_pretrained(tmp_path / "encoder")
    extractor.save_pretrained(tmp_path / "encoder")
    detector = AnomalyDetector(tmp_path / "encoder", DetectorConfig(layer=-2)).fit(clips)
    loaded = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "detector"))
    assert loaded.encoder.layer == loaded.config.layer == loaded.encoder.model.config.num_hidden_layers == 2
    (clip,) = samples(16_000)
    assert np.array_equal(loaded.encoder([clip]), detector.encoder([clip]))
    assert loaded(clip, 16_000) == detector(clip, 16_000)
    # Saved once more, it is still the same layer.
    again = AnomalyDetector.from_pretrained(loaded.save_pretrained(tmp_path / "again"))
    assert np.array_equal(again.encoder([clip]), detector.encoder([clip]))
