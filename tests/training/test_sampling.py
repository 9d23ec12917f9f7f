from collections import Counter

import numpy as np
import pytest
import soundfile

from hf_asd import load_folder
from hf_asd.audio.reading import BadAudioError, duration
from hf_asd.training.sampling import ClipSampler, CroppedClips, Draw, crop_lengths, frames_of


@pytest.fixture
def clips(tmp_path):
    """Ten recordings of 1 to 10 s whose samples count up, so that a crop tells where it comes from."""
    for seconds in range(1, 11):
        samples = (np.arange(16_000 * seconds) + 1) / 2**18
        soundfile.write(tmp_path / f"{seconds:02d}.wav", samples, 16_000, subtype="FLOAT")
    return load_folder(tmp_path)["train"]


def test_crop_lengths_are_whole_patches(clips):
    assert frames_of(10.0) == 992
    with pytest.raises(ValueError, match="crop_seconds is 0.1"):
        frames_of(0.1)
    lengths = crop_lengths(clips, frames_of(4.0))
    assert lengths.tolist() == [96, 192, 288, 384] + [400] * 6


def test_a_length_comes_from_the_header_and_bad_files_are_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(66_150, 0.1), 44_100)
    content = (tmp_path / "a.wav").read_bytes()
    assert duration(tmp_path / "a.wav") == duration({"path": None, "bytes": content}) == 1.5
    (tmp_path / "b.wav").write_bytes(b"no audio")
    with pytest.raises(BadAudioError, match="b.wav: cannot be read as audio"):
        duration({"path": str(tmp_path / "b.wav"), "bytes": None})
    soundfile.write(tmp_path / "c.wav", np.full(100, 0.1), 16_000)
    with pytest.raises(BadAudioError, match="c.wav: is too short"):
        duration(tmp_path / "c.wav")


def test_passes_hear_every_clip_once_in_an_order_of_the_seed():
    draws = list(ClipSampler(np.full(12, 100), step_clips=4, steps=6, seed=1))
    rows = [draw.row for draw in draws]
    assert set(Counter(rows).values()) == {2} and rows[:12] != rows[12:]
    assert len({draw.seed for draw in draws}) == 24
    assert draws == list(ClipSampler(np.full(12, 100), step_clips=4, steps=6, seed=1))
    assert draws != list(ClipSampler(np.full(12, 100), step_clips=4, steps=6, seed=2))


def test_clips_of_like_length_share_a_step_so_that_little_is_cut_off():
    lengths = np.random.default_rng(0).integers(6, 62, 1000) * 16
    draws = list(ClipSampler(lengths, step_clips=10, steps=100, seed=0))
    steps = [draws[start : start + 10] for start in range(0, 1000, 10)]
    assert all(step[0].frames == lengths[[draw.row for draw in step]].min() for step in steps)
    heard = sum(draw.frames for draw in draws)
    assert heard > 0.97 * lengths[[draw.row for draw in draws]].sum()
    # Sorted within a pool, but not from short to long over the run.
    assert 0.3 < np.mean(np.diff([step[0].frames for step in steps]) > 0) < 0.7


def test_few_clips_of_unlike_length_do_not_fill_a_step_with_one_of_them():
    draws = list(ClipSampler(np.arange(20) * 16 + 16, step_clips=4, steps=50, seed=0))
    distinct = [len({draw.row for draw in draws[start : start + 4]}) for start in range(0, 200, 4)]
    assert min(distinct) == 4


def test_neighbors_in_a_step_are_chosen_at_random():
    draws = list(ClipSampler(np.arange(64) * 16 + 16, step_clips=8, steps=80, seed=0))
    longer = np.array([draw.row for draw in draws]).reshape(-1, 2)
    assert 0.4 < np.mean(longer[:, 0] < longer[:, 1]) < 0.6


def test_weights_say_how_often_a_pass_hears_a_clip():
    weights = np.array([1.0] * 4 + [0.5] * 4 + [2.5] * 2)
    rows = [draw.row for draw in ClipSampler(np.full(10, 16), step_clips=1, steps=11 * 40, seed=3, weights=weights)]
    counts = Counter(rows)
    for row, weight in enumerate(weights):
        assert counts[row] == pytest.approx(40 * weight, abs=3)


def test_a_crop_is_a_stretch_of_the_recording_and_depends_on_its_seed_alone(clips):
    dataset = CroppedClips(clips)
    starts = set()
    for seed in range(20):
        item = dataset[Draw(row=4, seed=seed, frames=96)]
        assert item["augmentation_seeds"] == seed and len(item["samples"]) == 95 * 160 + 400
        np.testing.assert_allclose(np.diff(item["samples"]) * 2**18, 1, atol=1e-3)
        starts.add(round(float(item["samples"][0]) * 2**18) - 1)
        np.testing.assert_array_equal(item["samples"], dataset[Draw(4, seed, 96)]["samples"])
    assert len(starts) > 15 and min(starts) >= 0 and max(starts) <= 80_000 - 95 * 160 - 400
