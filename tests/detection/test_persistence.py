import json

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import (
    AnomalyDetector,
    DetectorConfig,
    EatConfig,
    EatFeatureExtractor,
    EatModel,
    SpectralStatistics,
    TransformerEncoder,
    embed,
    load_folder,
)
from hf_asd.embedding import precision
from hf_asd.embedding.band_statistics import STATISTICS_SIZE


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("fan"), np.random.default_rng(0)
    for clip in range(12):
        soundfile.write(folder / f"{clip:02d}.wav", hum(rng), RATE)
    return load_folder(folder)["train"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "fast", "threshold_method": "quantile"},
        {"backends": ("euclidean", "max_deviation"), "fusion": "min", "normalization": "ratio", "num_neighbors": 2},
        {"statistics": "acoustic_features"},
        {"statistics": "mean", "preset": "fast", "reduction": "k_center", "num_references": 5, "num_bands": 2},
    ],
)
def test_every_word_survives_the_disk(clips, tmp_path, options):
    detector = AnomalyDetector(None, DetectorConfig(**options)).fit(clips)
    loaded = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "detector"))
    assert loaded.config == detector.config
    if loaded.config.statistics == "band_statistics":
        assert loaded.score_map(np.ones(RATE, dtype=np.float32), RATE).shape == (98, 31)
    rng = np.random.default_rng(1)
    for samples in (hum(rng), hum(rng, 170.0), hum(rng) * 30, np.zeros(RATE, dtype=np.float32)):
        assert loaded(samples, RATE, explain=True) == detector(samples, RATE, explain=True)
    assert loaded(hum(rng, 170.0), RATE, explain=True).reasons[0].kind != "cannot_tell"


def test_statistics_beside_an_encoder_survive_the_disk(clips, tmp_path):
    config = EatConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    TransformerEncoder(EatModel(config), EatFeatureExtractor()).save_pretrained(tmp_path / "eat")
    detector = AnomalyDetector(tmp_path / "eat", DetectorConfig(pooling="bands_std", with_statistics=True)).fit(clips)
    assert detector.encoder.dimensions == SpectralStatistics().dimensions + 8 * 2 * 16
    assert SpectralStatistics().dimensions == STATISTICS_SIZE
    loaded = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "detector"))
    samples = hum(np.random.default_rng(1), 170.0)
    assert loaded(samples, RATE, explain=True) == detector(samples, RATE, explain=True)
    alone = AnomalyDetector().fit(clips)
    np.testing.assert_array_equal(loaded.score_map(samples, RATE), alone.score_map(samples, RATE))
    with pytest.raises(ValueError, match="with_statistics is True, which is for an encoder that you name"):
        AnomalyDetector(None, DetectorConfig(with_statistics=True))
    with pytest.raises(ValueError, match="encoder_weight is 0.5, which is for an encoder that you name"):
        AnomalyDetector(None, DetectorConfig(encoder_weight=0.5))
    with pytest.raises(ValueError, match="encoder_weight is 0.5, but the encoder was loaded with 1.0"):
        AnomalyDetector(TransformerEncoder.from_pretrained(tmp_path / "eat"), DetectorConfig(encoder_weight=0.5))


def test_every_file_is_vouched_for_and_none_of_another_detector_stays(clips, tmp_path):
    folder = AnomalyDetector().fit(clips).save_pretrained(tmp_path / "detector")
    listed = json.loads((folder / "detector.json").read_text())["files"]
    kept = {"training_clips.parquet", "training_clips.safetensors"}
    assert set(listed) == {"config.json", "memory_bank.safetensors", "normal_profiles.safetensors", *kept}
    sounds = folder / "normal_profiles.safetensors"
    content = bytearray(sounds.read_bytes())
    content[-1] ^= 1
    sounds.write_bytes(content)
    with pytest.raises(ValueError, match="normal_profiles.safetensors: was changed after the detector was saved"):
        AnomalyDetector.from_pretrained(folder)
    AnomalyDetector().fit(clips, with_reasons=False).save_pretrained(folder)
    assert not sounds.exists() and AnomalyDetector.from_pretrained(folder).profiles == {}


def test_a_detector_says_what_half_precision_costs(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    config = EatConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    TransformerEncoder(EatModel(config), EatFeatureExtractor()).save_pretrained(tmp_path / "eat")
    options = DetectorConfig(precision="bf16", with_statistics=True)
    detector = AnomalyDetector(tmp_path / "eat", options).fit(clips)
    cosine = detector.precision_cosine
    assert cosine is not None and 0.99 < cosine < 1
    loaded = AnomalyDetector.from_pretrained(detector.save_pretrained(tmp_path / "detector"))
    assert loaded.precision_cosine == cosine and loaded.config.precision == "bf16"
    assert f"(cosine distance to embeddings of float32: {1 - cosine:.1g} at most)" in loaded.embedding_description
    samples = hum(np.random.default_rng(1), 170.0)
    assert loaded(samples, RATE) == detector(samples, RATE)
    exact = loaded.set_precision("fp32")(samples, RATE).anomaly_score
    assert exact != detector(samples, RATE).anomaly_score
    assert exact == pytest.approx(detector(samples, RATE).anomaly_score, rel=0.02)
    embedded = embed(clips, detector.encoder)
    assert AnomalyDetector(detector.encoder, options).fit(embedded).precision_cosine == pytest.approx(cosine)
    assert AnomalyDetector(tmp_path / "eat").fit(clips).precision_cosine is None
    with pytest.raises(ValueError, match="precision is 'bf16', which is for an encoder that you name"):
        AnomalyDetector(None, DetectorConfig(precision="bf16"))
    with pytest.raises(ValueError, match="this detector has spectral statistics alone, which are computed in float32"):
        AnomalyDetector().fit(clips).set_precision("bf16")
