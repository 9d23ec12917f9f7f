import numpy as np
import pytest
import torch
from transformers import ASTConfig, ASTFeatureExtractor, AutoModel, HubertConfig, Wav2Vec2FeatureExtractor

from hf_asd import (
    AttributeClassifier,
    AttributeClassifierConfig,
    EatConfig,
    EatFeatureExtractor,
    SpectralStatistics,
    TransformerEncoder,
)
from hf_asd.detection.backends.nearest_neighbors import CosineNeighbors
from hf_asd.detection.explanation.score_map import score_map, usual_range


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WAVES = {**TINY, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
ENCODERS = {
    "eat": (EatConfig(**TINY), EatFeatureExtractor(), (7, 8)),
    "ast": (ASTConfig(**TINY, max_length=64), ASTFeatureExtractor(max_length=64), (10, 12)),  # two parts
    "hubert": (HubertConfig(**WAVES), Wav2Vec2FeatureExtractor(), (49, 1)),
}


def noise(count, seconds=1.0):
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(int(16_000 * seconds)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "pooling"), [("eat", "mean"), ("eat", "bands"), ("ast", "bands"), ("hubert", "mean")]
)
def test_the_mean_of_the_map_is_the_distance(name, pooling):
    config, extractor, shape = ENCODERS[name]
    torch.manual_seed(0)
    encoder = TransformerEncoder(AutoModel.from_config(config).eval(), extractor, pooling)
    *normal, clip = noise(4)
    bank = torch.from_numpy(encoder(normal))
    found = score_map(encoder, clip, bank)
    assert found.shape == shape
    distance = CosineNeighbors(bank).score(torch.from_numpy(encoder([clip]))).item()
    assert found.mean() == pytest.approx(distance, rel=1e-2, abs=1e-6)


def test_a_classifiers_map_follows_its_own_pooling():
    config = AttributeClassifierConfig(encoder_config=EatConfig(**TINY), pooling="bands")
    torch.manual_seed(0)
    encoder = TransformerEncoder(AttributeClassifier(config).eval(), EatFeatureExtractor())
    *normal, clip = noise(3)
    bank = torch.from_numpy(encoder(normal))
    distance = CosineNeighbors(bank).score(torch.from_numpy(encoder([clip]))).item()
    assert score_map(encoder, clip, bank).mean() == pytest.approx(distance, rel=1e-2, abs=1e-6)


def test_with_spreads_the_map_is_that_of_the_means():
    config, extractor, _ = ENCODERS["eat"]
    model = AutoModel.from_config(config).eval()
    *normal, clip = noise(4)
    with_spread, plain = (TransformerEncoder(model, extractor, pooling) for pooling in ("bands_std", "bands"))
    maps = [score_map(encoder, clip, torch.from_numpy(encoder(normal))) for encoder in (with_spread, plain)]
    np.testing.assert_allclose(*maps, atol=1e-6)


def test_a_tone_stands_out_where_it_sounds():
    encoder = SpectralStatistics()
    *normal, clip = noise(8, seconds=2.0)
    bank = torch.from_numpy(encoder(normal))
    quiet = score_map(encoder, clip, bank)
    assert quiet.shape == (198, 31) and abs(quiet.mean()) < 0.25 and 0.8 < quiet.std() < 1.3
    time = np.arange(16_000) / 16_000
    clip[16_000:] += 0.2 * np.sin(2 * np.pi * 1000 * time, dtype=np.float32)
    loud = score_map(encoder, clip, bank)
    rows, bands = np.where(loud > 4)
    assert len(rows) > 80 and rows.min() > 95
    center = np.bincount(bands).argmax()  # 1000 Hz on the mel scale between 20 Hz and 8 kHz
    mel = 1127 * np.log1p(np.array([20, 8000, 1000]) / 700)
    place = 129 * (mel[2] - mel[0]) / (mel[1] - mel[0]) - 1  # among 128 mels, of which a band has eight
    assert 4 * center + 3.5 == pytest.approx(place, abs=4)


def test_embeddings_without_a_map_say_so():
    with pytest.raises(ValueError, match="statistics is 'mean'"):
        score_map(SpectralStatistics("mean"), noise(1)[0], torch.zeros(4, 128))
    config, extractor, _ = ENCODERS["eat"]
    encoder = TransformerEncoder(AutoModel.from_config(config), extractor, "rdp")
    with pytest.raises(ValueError, match="pooling is 'rdp'; a map over time needs"):
        score_map(encoder, noise(1)[0], torch.zeros(4, 32))


def test_the_usual_range_holds_strokes_and_speeds_of_normal_clips():
    """A machine that is quiet and loud by turns, at two levels: its frames are usual, a louder one is not."""
    encoder, rng = SpectralStatistics(), np.random.default_rng(0)
    strokes = np.where(np.arange(2 * 16_000) // 4000 % 2, 1.0, 0.1)
    clips = [
        (0.01 * (1 + clip % 2) * strokes * rng.standard_normal(len(strokes))).astype(np.float32) for clip in range(12)
    ]
    bank = torch.from_numpy(encoder(clips))
    low, high = usual_range(encoder, bank)
    for clip in clips[:2]:
        found = score_map(encoder, clip, bank)
        assert (found > high + 1).mean() < 0.02 > (found < low - 1).mean()
    louder = score_map(encoder, 4 * clips[1], bank)
    assert (louder[30:45] > high + 1).mean() > 0.9, "a stroke that is 12 dB louder than any normal one"
    assert (score_map(encoder, 0.05 * clips[0], bank) < low - 1).mean() > 0.4
    assert usual_range(SpectralStatistics("mean"), torch.zeros(4, 128)) is None
