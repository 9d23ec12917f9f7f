import numpy as np
import pytest
import soundfile
from scipy import fft
from scipy.signal import stft

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.audio.channels import select_channel, subtract_far, subtract_far_spectrum
from hf_asd.audio.reading import BadAudioError, read_audio
from hf_asd.simulation.acoustics import background, room
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.machines.machine import Run
from hf_asd.simulation.signals import amplitude, at_level, padded_samples


RATE = 16_000
SUBTRACTIONS = (subtract_far, subtract_far_spectrum)


def spectrum(samples):
    """Mean power by frequency, 15.6 Hz apart."""
    return np.square(np.abs(stft(samples, RATE, nperseg=1024)[2])).mean(1)


def two_channels(machine, fault, seed=0, seconds=5.0, snr_db=0.0):
    """A factory's machine with a microphone near it and one far away: 12 dB less machine, as much background."""
    samples = padded_samples(seconds)
    kind = MACHINES[machine]
    attributes = {key: values[0] for key, values in kind.source.items()}
    streams = [np.random.default_rng([seed, stream]) for stream in range(4)]
    run = Run(samples, attributes, *streams[:3], fault=fault, severity=0.7)
    sound = fft.rfft(at_level(kind.sound(run), 0))
    around = background(np.random.default_rng(1), np.random.default_rng(2), streams[3], samples)
    around = fft.rfft(around * np.float32(amplitude(-snr_db)))
    heard = []
    for microphone, distance_db in (("near", 0.0), ("far", 12.0)):
        rooms = [room(np.random.default_rng([seed, 7, len(microphone), path]), streams[3], samples) for path in (0, 1)]
        mixed = sound * rooms[0] * np.float32(amplitude(-distance_db)) + around * rooms[1]
        heard.append(fft.irfft(mixed, samples)[-round(seconds * RATE) :].astype(np.float32) * 0.05)
    return heard


@pytest.mark.parametrize("subtract", SUBTRACTIONS)
@pytest.mark.parametrize(
    ("machine", "fault"), [("fan", "stall"), ("pump", "bearing_wear"), ("gearbox", "wear"), ("slider", "dry")]
)
def test_a_fault_that_both_microphones_hear_survives(machine, fault, subtract):
    """Where the near microphone alone hears the fault, it is heard after the subtraction too."""
    broken, healthy = two_channels(machine, fault), two_channels(machine, None)
    near = 10 * np.log10(spectrum(broken[0])[2:] / spectrum(healthy[0])[2:])
    after = 10 * np.log10(spectrum(subtract(*broken))[2:] / spectrum(subtract(*healthy))[2:])
    louder = np.argsort(near)[-10:]
    assert near[louder].mean() > 2
    assert after[louder].mean() > 0.8 * near[louder].mean()


@pytest.mark.parametrize("subtract", SUBTRACTIONS)
def test_a_tone_of_the_machine_alone_survives_and_shared_noise_goes(subtract):
    """A frequency that holds nothing but the machine would vanish under an unlimited least-squares filter."""
    rng = np.random.default_rng(0)
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE).astype(np.float32)
    noise = 0.02 * rng.standard_normal(4 * RATE, dtype=np.float32)
    own = 0.001 * rng.standard_normal((2, 4 * RATE), dtype=np.float32)
    near, far = tone + noise + own[0], 0.25 * tone + noise + own[1]
    before, after = spectrum(near), spectrum(subtract(near, far))
    assert 10 * np.log10(after[64] / before[64]) > -3  # at 1000 Hz
    assert 10 * np.log10(np.delete(after, slice(60, 69)).mean() / np.delete(before, slice(60, 69)).mean()) < -10
    n, f = (stft(samples, RATE, nperseg=1024)[2] for samples in (near, far))
    unlimited = n - (n * f.conj()).sum(1, keepdims=True) / np.square(np.abs(f)).sum(1, keepdims=True) * f
    assert 10 * np.log10(np.square(np.abs(unlimited[64])).mean() / before[64]) < -20


def test_the_filter_is_the_least_squares_solution():
    """The far microphone hears the background later and softer, and nothing else is there: all of it goes."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(4 * RATE, dtype=np.float32)
    near = 0.5 * np.roll(noise, 5)
    left = subtract_far(near, noise)
    assert np.square(left).mean() < 0.002 * np.square(near).mean()
    assert left.dtype == np.float32 and left.shape == near.shape
    np.testing.assert_allclose(subtract_far(near, np.zeros_like(near)), near, atol=1e-6)
    np.testing.assert_allclose(subtract_far_spectrum(near, np.zeros_like(near)), near, atol=1e-6)


def test_two_microphones_in_files_and_detectors(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("fan", "new"):
        (tmp_path / folder).mkdir()
    for clip in range(9):
        time = np.arange(RATE) / RATE
        machine = 0.05 * np.sin(2 * np.pi * (300 if clip < 8 else 420) * time) * rng.uniform(0.9, 1.1)
        around = 0.05 * rng.standard_normal(RATE)
        both = np.stack([machine + around, 0.1 * machine + around], axis=1)
        soundfile.write(tmp_path / ("fan" if clip < 8 else "new") / f"{clip}.wav", both, RATE, subtype="FLOAT")
    samples, _ = soundfile.read(tmp_path / "new" / "8.wav", dtype="float32")
    for channel, subtract in zip(("near-minus-far", "spectral-subtraction"), SUBTRACTIONS, strict=True):
        np.testing.assert_array_equal(read_audio(tmp_path / "new" / "8.wav", channel=channel), subtract(*samples.T))
        detector = AnomalyDetector(config=DetectorConfig(channel=channel))
        detector.fit(load_folder(tmp_path / "fan")).save_pretrained(tmp_path / channel)
        assert AnomalyDetector.from_pretrained(tmp_path / channel)(tmp_path / "new" / "8.wav").is_anomaly


def test_a_channel_that_is_not_there(tmp_path):
    soundfile.write(tmp_path / "mono.wav", 0.1 * np.ones(RATE), RATE)
    with pytest.raises(
        BadAudioError, match="mono.wav: has 1 channel.*needs 2 channels, near and far.*0 to 0 or 'mean'"
    ):
        read_audio(tmp_path / "mono.wav", channel="near-minus-far")
    with pytest.raises(ValueError, match="asked for channel 'left'.*'near-minus-far' or 'spectral-subtraction'"):
        select_channel(np.zeros((8, 2), dtype=np.float32), "left")
