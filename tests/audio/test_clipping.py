import io

import numpy as np
import pytest
import soundfile

from hf_asd.audio.clipping import clipped_share


RATE = 16_000
TIME = np.arange(10 * RATE) / RATE
HISS = np.random.default_rng(0).standard_normal(len(TIME))
SOUNDS = {
    "hiss": HISS,
    "hum in hiss": np.sin(2 * np.pi * 50 * TIME) + 0.3 * HISS,
    "crackle": 0.1 * HISS + np.where(np.arange(len(TIME)) % 1600 == 0, 2.0, 0.0) * np.abs(HISS),
    "laplace": np.random.default_rng(1).laplace(size=len(TIME)),
}


def scaled(samples: np.ndarray, level: float, bits: int) -> np.ndarray:
    """To a peak, and in steps of so many bits; 32 stands for floats."""
    samples = samples * level / np.abs(samples).max()
    return (samples if bits == 32 else np.round(samples * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize(("level", "bits"), [(0.99, 16), (0.1, 16), (0.99, 12), (0.1, 24), (0.001, 24), (0.001, 32)])
def test_flat_tops_are_found_at_any_level_under_clicks_too(name, level, bits):
    sound = SOUNDS[name]
    for share in (0.3, 0.01, 0.003):
        top = np.quantile(np.abs(sound), 1 - share)
        cut = scaled(np.clip(sound, -top, top), level, bits)
        clicked = cut.copy()
        clicked[[5_000, 90_000]] = (3 * level, -2 * level)
        for samples in (cut, clicked):
            assert clipped_share(samples) == pytest.approx(share, rel=0.05)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("bits", [8, 12, 16, 24, 32])
def test_clicks_are_no_flat_top(name, bits):
    for level in (0.3, 0.1, 0.03):
        samples = scaled(SOUNDS[name], level, bits)
        assert clipped_share(samples) < 0.0005
        for clicks in ([0.99], [0.99, 0.98], [0.99, -0.9, 0.7, 0.5], [0.99] * 4):
            clicked = samples.copy()
            clicked[1000 * np.arange(1, len(clicks) + 1)] = clicks
            assert clipped_share(clicked) < 0.0005


def test_coarse_codecs_are_no_flat_top():
    for name, sound in SOUNDS.items():
        for subtype in ("ULAW", "ALAW", "PCM_U8"):
            for level in (0.99, 0.3, 0.1):
                file = io.BytesIO()
                soundfile.write(file, scaled(sound, level, 32), RATE, format="WAV", subtype=subtype)
                file.seek(0)
                assert clipped_share(soundfile.read(file, dtype="float32")[0]) < 0.001, (name, subtype, level)


def test_a_wave_that_is_always_at_its_limits_is_clipped():
    hum = np.sin(2 * np.pi * 117 * TIME) + 1e-9
    assert clipped_share(np.sign(hum)) == 1
    assert clipped_share(np.clip(100 * hum, -0.9, 0.9).astype(np.float32)) > 0.95
    assert clipped_share(np.zeros(RATE)) == clipped_share(np.full(RATE, 0.2)) == 0
