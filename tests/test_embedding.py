import numpy as np
import pytest
import soundfile

from hf_asd import SpectralStatistics, embed, load_folder
from hf_asd import embedding as embedding_module
from hf_asd.data.audio import BadAudioError


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for clip in range(10):
        soundfile.write(tmp_path / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    return load_folder(tmp_path)["train"]


class Counting:
    """Mean and spread of the samples; counts clips, and stops working after `breaks_after` of them."""

    def __init__(self, breaks_after=None):
        self.clips = 0
        self.breaks_after = breaks_after

    def __call__(self, clips):
        self.clips += len(clips)
        if self.breaks_after is not None and self.clips > self.breaks_after:
            raise KeyboardInterrupt
        return np.array([[clip.mean(), clip.std()] for clip in clips], dtype=np.float32)


def test_embedding_goes_on_where_it_stopped(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_module, "SHARD_ROWS", 4)
    with pytest.raises(KeyboardInterrupt):
        embed(clips, Counting(breaks_after=8), tmp_path / "parts")
    rest = Counting()
    resumed = embed(clips, rest, tmp_path / "parts")
    assert rest.clips == 2
    assert resumed["embedding"][:] == embed(clips, Counting())["embedding"][:]
    assert resumed["clip_id"][:] == clips["clip_id"][:]


def test_a_folder_of_other_recordings_is_refused(clips, tmp_path):
    embed(clips, Counting(), tmp_path / "parts")
    with pytest.raises(ValueError, match="embeddings of other recordings"):
        embed(clips.select(range(3)), Counting(), tmp_path / "parts")


def test_a_bad_recording_does_not_cost_finished_parts(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_module, "SHARD_ROWS", 4)
    path = clips[9]["audio"]["path"]
    with open(path, "wb"):
        pass
    with pytest.raises(BadAudioError, match="9.wav: cannot be read as audio, the file has 0 bytes"):
        embed(clips, Counting(), tmp_path / "parts")
    soundfile.write(path, np.ones(16_000) * 0.1, 16_000)
    rest = Counting()
    embed(clips, rest, tmp_path / "parts")
    assert rest.clips == 2


def test_spectral_statistics_are_quantiles_and_means_of_bands(clips):
    samples = [np.sin(np.arange(16_000) * 0.3).astype(np.float32), np.ones(8_000, dtype=np.float32) * 0.1]
    samples[1][::7] = -0.2
    quantiles, means = SpectralStatistics()(samples), SpectralStatistics("mean")(samples)
    assert quantiles.shape == (2, 384) and means.shape == (2, 128)
    low, middle, high = quantiles.reshape(2, 3, 128).transpose(1, 0, 2)
    assert (low <= middle).all() and (middle <= high).all()
    # 0.3 rad a sample at 16 kHz are 764 Hz; the loudest band holds it.
    mel = 1127 * np.log(1 + np.array([20, 764, 8_000]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 129 - 1
    assert abs(means[0].argmax() - expected) <= 1
    with pytest.raises(ValueError, match="statistics is 'median'"):
        SpectralStatistics("median")
