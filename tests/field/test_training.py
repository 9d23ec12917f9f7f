"""Normal recordings as they really come: what `fit` learns from, what it leaves out, and what it says about them."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.reading import BadAudioError, read_clip
from hf_asd.audio.stored_sound import stored_sound
from hf_asd.detection.explanation.input_ranges import InputRanges


RATE = 16_000


def machine(rng: np.random.Generator, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    noise = np.sqrt(rate / RATE) * rng.standard_normal(len(time))  # as loud below 8 kHz at every rate
    return 0.1 * np.sin(2 * np.pi * 117 * time) + 0.03 * noise


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


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> AnomalyDetector:
    return fitted(write(tmp_path_factory.mktemp("own") / "fan", normal_clips(20)))


def abstain_reason(detector, samples, rate=RATE) -> str:
    return detector(samples.astype(np.float32), rate).abstain_reason or ""


def band_limited(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    return sosfilt(butter(10, (low, high), "bandpass", fs=RATE, output="sos"), samples)


def test_a_recording_with_a_gap_is_no_decision(detector):
    clip = machine(np.random.default_rng(99))
    cut = clip.copy()
    cut[2 * RATE : 2 * RATE + 800] = 0
    assert abstain_reason(detector, clip) == ""
    assert abstain_reason(detector, cut).startswith("gap: 0.05 s of sound are cut out, from 2.0 s on")
    assert abstain_reason(detector, np.concatenate([np.zeros(RATE), clip])).startswith("gap: 1 s of sound")


def test_gaps_that_normal_clips_have_as_well_are_normal(tmp_path):
    clips = normal_clips(20, seed=1)
    for number, name in enumerate(clips):
        if number % 4 == 0:
            clips[name][RATE : RATE + 2000] = 0
    detector = fitted(write(tmp_path / "fan", clips))
    cut = machine(np.random.default_rng(99))
    cut[2 * RATE : 2 * RATE + 2000] = 0
    assert abstain_reason(detector, cut) == ""
    cut[2 * RATE : 3 * RATE] = 0
    assert abstain_reason(detector, cut).startswith("gap: 1 s")


@pytest.mark.parametrize("cut_hz", [7400, 5500, 4000, 3400, 1500])
def test_an_empty_top_band_is_no_decision(detector, cut_hz):
    """As in MP3, on the telephone, and at lower sampling rates."""
    text = abstain_reason(detector, band_limited(machine(np.random.default_rng(99)), 50, cut_hz))
    assert text.startswith("nothing above ")
    assert 1000 * float(text.split()[2]) == pytest.approx(cut_hz, rel=0.2)  # a Butterworth filter is soft


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
def test_higher_sampling_rates_are_no_empty_band(detector, rate):
    for clip in (
        machine(np.random.default_rng(99), rate=rate),
        soxr.resample(machine(np.random.default_rng(99)), RATE, rate),
    ):
        assert "nothing above" not in abstain_reason(detector, clip, rate)


def test_another_sampling_rate_alone_raises_no_alarm(detector):
    copy = soxr.resample(machine(np.random.default_rng(99)), RATE, 48_000).astype(np.float32)
    decision = detector(copy, 48_000)
    assert decision.is_anomaly is None and str(decision.abstain_reason).startswith("other sampling rate: ")
    assert [reason.kind for reason in detector(copy, 48_000, explain=True).reasons or []] == ["unfit"]
    tone = 0.2 * np.sin(2 * np.pi * 900 * np.arange(len(copy)) / 48_000)
    assert detector((copy + tone).astype(np.float32), 48_000).is_anomaly is True


def test_a_fault_that_is_loud_below_an_empty_band_is_decided(detector):
    """Recorders with a lossy codec leave out faint high bands while something loud is on."""
    tone = 0.2 * np.sin(2 * np.pi * 900 * np.arange(4 * RATE) / RATE)
    decision = detector(band_limited(machine(np.random.default_rng(99)) + tone, 20, 6000).astype(np.float32), RATE)
    assert decision.is_anomaly is True


def test_a_whine_at_the_top_that_stops_is_no_filter(tmp_path):
    rng, whine = np.random.default_rng(5), 0.1 * np.sin(2 * np.pi * 7700 * np.arange(4 * RATE) / RATE)
    detector = fitted(write(tmp_path / "fan", {f"{number:02}": machine(rng) + whine for number in range(12)}))
    assert not abstain_reason(detector, machine(rng)).startswith("nothing above")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg to make compressed copies")
@pytest.mark.parametrize("name, options", [("a.mp3", "-b:a 64k"), ("b.mp3", "-q:a 9"), ("c.ogg", "-q:a 0")])
def test_a_compressed_copy_is_no_anomaly(detector, tmp_path, name, options):
    soundfile.write(tmp_path / "whole.wav", machine(np.random.default_rng(99)), RATE)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "whole.wav"), *options.split(), str(tmp_path / name)]
    subprocess.run(command, check=True)
    decision = detector(tmp_path / name)
    assert not decision.is_anomaly
    assert decision.is_anomaly is False or str(decision.abstain_reason).startswith("nothing above ")


def ranges_with(odd: int, count: int, **measures) -> InputRanges:
    """Of `count` normal clips, `odd` of which have other measures than the rest."""
    rng = np.random.default_rng(0)
    usual = {"level": -60.0, "spectrum": -80.0, "clipped": 0.0, "gap": 0.0, "seconds": 10.0}
    sizes = {"level": 51, "spectrum": 128, "clipped": 1, "gap": 1, "seconds": 1}
    summaries = {}
    for name, size in sizes.items():
        values = usual[name] + (0.5 * rng.standard_normal((count, size)) if size > 1 else np.zeros((count, 1)))
        values[:odd] += measures.get(name, 0)
        summaries[name] = values
    return InputRanges.of(summaries)


@pytest.mark.parametrize("odd, count, is_normal", [(1, 5, False), (1, 16, False), (3, 30, False), (4, 20, True)])
def test_a_tenth_of_the_normal_clips_does_not_move_a_limit_and_a_fifth_does(odd, count, is_normal):
    quiet = ranges_with(odd, count, level=-40, spectrum=-40)
    loud = ranges_with(odd, count, level=40, spectrum=40, clipped=0.1, gap=0.5)
    assert (quiet.lowest_level < -90).all() == (quiet.lowest_spectrum < -110).all() == is_normal
    assert (loud.highest_level > -30).all() == (loud.highest_spectrum > -50).all() == is_normal
    assert (loud.clipped > 0) == (loud.gap > 0) == is_normal
    if not is_normal:
        assert (quiet.lowest_level > -75).all() and (loud.highest_level < -45).all() and quiet.deficit < 4
