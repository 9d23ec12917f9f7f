import numpy as np
import pytest
from scipy.signal import welch

from hf_asd.audio.acoustic_features import (
    EVENT_EDGES,
    FRAME_SECONDS,
    LEVEL_EDGES,
    OCTAVE_EDGES,
    RATE_EDGES,
    TONE_EDGES,
    extract_features,
    summarize_features,
)


RATE = 16_000


def noise(seconds=4.0, seed=0, level=0.02):
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def when(samples):
    return np.arange(len(samples)) / RATE


def within(edges, cell, hertz):
    return edges[cell] <= hertz * 1.03 and hertz <= edges[cell + 1] * 1.03


def test_levels_are_those_of_the_power_spectrum():
    samples = noise(10.0)
    hertz, density = welch(samples, RATE, nperseg=8192)
    slow = [
        10 * np.log10(density[(hertz >= low) & (hertz < high)].sum() * hertz[1])
        for low, high in zip(LEVEL_EDGES[:-1], LEVEL_EDGES[1:], strict=True)
    ]
    # Above 200 Hz, where a band holds enough lines that the median over time is the mean.
    np.testing.assert_allclose(extract_features(samples)["level"][20:], slow[20:], atol=1.0)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * when(samples)).astype(np.float32)
    assert extract_features(tone)["level"].max() == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.1)


@pytest.mark.parametrize("hertz", [45.0, 66.0, 440.0, 3000.0])
def test_a_tone_stands_out_where_it_is(hertz):
    samples = noise()
    with_tone = samples + 0.02 * np.sin(2 * np.pi * hertz * when(samples)).astype(np.float32)
    tone = extract_features(with_tone)["tone"]
    assert within(TONE_EDGES, int(tone.argmax()), hertz) and tone.max() > 10
    assert extract_features(samples)["tone"].max() < 6


def test_a_knock_and_a_burst_stand_out_when_they_are():
    samples = noise()
    after = when(samples) - 2.5
    knock = np.where(after > 0, np.exp(-after / 0.02), 0) * np.sin(2 * np.pi * 1500 * after) * 0.5
    told = extract_features((samples + knock).astype(np.float32))
    sharp = told["event"] - told["steady"]
    band, frame = np.unravel_index(sharp.argmax(), sharp.shape)
    assert within(EVENT_EDGES, band, 1500) and (frame + 1) * FRAME_SECONDS == pytest.approx(2.5, abs=0.05)
    assert summarize_features(told)["knock"].max() > 15 > 8 > summarize_features(told)["burst"].max()
    burst = 0.2 * np.sin(2 * np.pi * 1500 * when(samples)) * ((after > 0) & (after < 1))
    told = summarize_features(extract_features((samples + burst).astype(np.float32)))
    assert within(EVENT_EDGES, int(told["burst"].argmax()), 1500)
    assert told["burst"].max() > 15


@pytest.mark.parametrize("rate", [10.0, 25.0, 90.0])
def test_a_rhythm_stands_out_at_its_rate_and_octave(rate):
    carrier = noise(6.0)
    spectrum = np.fft.rfft(carrier)
    hertz = np.fft.rfftfreq(len(carrier), 1 / RATE)
    spectrum[(hertz < 2000) | (hertz > 4000)] = 0
    band = np.fft.irfft(spectrum, len(carrier))
    beating = carrier + 3 * band * (1 + 0.8 * np.sin(2 * np.pi * rate * when(carrier)))
    rhythm = extract_features(beating.astype(np.float32))["rhythm"]
    octave, cell = np.unravel_index(rhythm.argmax(), rhythm.shape)
    assert OCTAVE_EDGES[octave] == 2000 and within(RATE_EDGES, cell, rate)
    assert rhythm.max() > 8 > 6 > extract_features(carrier)["rhythm"].max()


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.3, 18.0])
def test_every_length_has_the_same_figures(seconds):
    told = summarize_features(extract_features(noise(seconds)))
    assert {kind: values.shape for kind, values in told.items()} == {
        "level": (51,),
        "spectrum": (128,),
        "tone": (207,),
        "rhythm": (312,),
        "burst": (19,),
        "knock": (19,),
        "dropout": (1,),
        "loudness": (1,),
    }
    assert all(np.isfinite(values).all() for values in told.values())


def test_silence_is_finite():
    told = summarize_features(extract_features(np.zeros(RATE, dtype=np.float32)))
    assert all(np.isfinite(values).all() for values in told.values())
