"""Normal recordings as they really come: what `fit` learns from, what it leaves out, and what it says about them."""

import numpy as np
import pytest
import soundfile

from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.reading import BadAudioError, read_clip
from hf_asd.audio.stored_sound import stored_sound


RATE = 16_000


def machine(rng: np.random.Generator, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    return 0.1 * np.sin(2 * np.pi * 117 * time) + 0.03 * rng.standard_normal(len(time))


def write(folder, clips, rate=RATE, subtype="PCM_16"):
    """Writes clips by their names without `.wav`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in clips.items():
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
    return folder


def normal_clips(count: int, seed: int = 0, **options) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"{number:02}": machine(rng, **options) for number in range(count)}


def fitted(folder, **options) -> AnomalyDetector:
    return AnomalyDetector(None, **options).fit(load_folder(folder))


@pytest.mark.parametrize("level", [0.0, 0.2, -1.0])
def test_a_constant_is_silent(tmp_path, level):
    write(tmp_path / "dc", {"a": np.full(2 * RATE, level)})
    with pytest.raises(BadAudioError, match=r"a\.wav: is silent: no sound above -90 dB"):
        fitted(tmp_path / "dc")
    detector = fitted(write(tmp_path / "fan", normal_clips(8)))
    decision = detector(tmp_path / "dc" / "a.wav")
    assert decision.is_anomaly is None and str(decision.abstain_reason).startswith("silent: no sound")


def test_stereo_with_one_silent_channel_says_once_which_to_take(tmp_path):
    stereo = {name: np.stack([0 * clip + 0.01, clip], axis=1) for name, clip in normal_clips(6).items()}
    folder = write(tmp_path / "stereo", stereo)
    with pytest.raises(BadAudioError) as error:
        fitted(folder)
    assert "05.wav: is silent in channel 0, while channel 1 has sound" in str(error.value)
    assert str(error.value).count("silent in channel 0") == 1
    assert "Channel 1 has sound in 6 of these 6 recordings: fit with --channel 1 (channel=1)." in str(error.value)
    mono = fitted(write(tmp_path / "fan", normal_clips(6)))
    assert mono(folder / "00.wav").abstain_reason == "silent in channel 0, while channel 1 has sound"


def test_channels_that_cancel_are_named(tmp_path):
    clip = normal_clips(1)["00"]
    folder = write(tmp_path / "balanced", {"a": np.stack([clip, -clip], axis=1)})
    with pytest.raises(BadAudioError, match="silent in the mean of all channels, while channels 0 and 1 have sound"):
        read_clip(folder / "a.wav", channel="mean", allow_silence=False)


def gap_seconds(samples: np.ndarray, rate: int = RATE) -> float:
    return stored_sound(samples[:, None], samples, rate).gap_seconds


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("held", [0.0, 0.05])
def test_gaps_are_runs_of_one_value_that_cut_off_sound(rate, held):
    rng = np.random.default_rng(0)
    clip = (machine(rng, rate=rate) * 2**15).round() / 2**15
    assert gap_seconds(clip, rate) == 0
    for seconds in (0.02, 0.5):
        cut, length = clip.copy(), int(seconds * rate)
        cut[rate : rate + length] = held
        assert gap_seconds(cut, rate) == pytest.approx(seconds, abs=0.001)


def test_what_is_no_gap():
    rng = np.random.default_rng(0)
    clip = machine(rng)
    gate = np.interp(np.arange(len(clip)), [0, RATE, RATE + 800, 2 * RATE, 2 * RATE + 160], [1, 1, 0, 0, 1])
    quiet = np.round(0.3 * rng.standard_normal(len(clip))) / 2**15  # a step of 16 bit now and then
    start = np.where(np.arange(len(clip)) < 0.2 * RATE, 0, clip)  # a recorder or a codec begins
    flat = np.clip(20 * np.sin(2 * np.pi * 10 * np.arange(len(clip)) / RATE), -1, 1)  # clipped for 48 ms at a time
    for sound in (gate * clip, quiet, start, flat):
        assert gap_seconds((sound * 2**15).round() / 2**15) == 0
    padded = np.concatenate([clip, np.zeros(RATE)])
    assert gap_seconds(padded) == 1
