"""Speech in the background of recordings: a synthetic speaker is found, machines are not taken for one."""

import json

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from hf_asd.cli import main
from hf_asd.detection.recording_check.voices import VOICE_SCORE, has_voice, voice_score


RATE = 16_000
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240), "e": (530, 1840, 2480)}


def speaker(pitch: float = 120.0, seconds: float = 10.0, seed: int = 0) -> np.ndarray:
    """Sentences of syllables: pulses of a pitch that moves, through the formants of vowels; root mean square 1."""
    rng, sound, place = np.random.default_rng(seed), np.zeros(round(seconds * RATE)), 0
    while place < len(sound):
        for number in range(rng.integers(4, 9)):  # a phrase: its pitch falls
            count = round(rng.uniform(0.15, 0.3) * RATE)
            start = pitch * 2 ** (rng.uniform(-2, 4) / 12 - number * 0.05)
            glide = start * 2 ** (np.linspace(0, rng.uniform(-4, 3), count) / 12)
            phase = np.cumsum(glide / RATE)
            pulses = np.diff(np.floor(phase), prepend=0.0)
            voice = lfilter([1], [1, -0.95], pulses)
            for formant in FORMANTS[rng.choice(list(FORMANTS))]:
                radius = np.exp(-np.pi * 90 / RATE)
                voice = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], voice)
            voice = voice / voice.std() * np.sin(np.pi * np.linspace(0, 1, count)) ** 0.5
            fits = min(count, len(sound) - place)
            sound[place : place + fits] = voice[:fits]
            place += count + round(rng.uniform(0.03, 0.1) * RATE)
            if place >= len(sound):
                break
        place += round(rng.uniform(0.3, 0.6) * RATE)
    return sound / sound[sound != 0].std()


def machine(kind: str, seconds: float = 10.0, seed: int = 0) -> np.ndarray:
    """Root mean square 1."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    noise = lfilter([1], [1, -0.7], rng.standard_normal(len(time)))
    flutter = 1 + 0.015 * np.cumsum(rng.standard_normal(len(time))) / np.sqrt(len(time))
    shift = {"steady": 1.0, "flutter": flutter, "run-up": np.linspace(0.8, 2.2, len(time))}.get(kind, 1.0)
    phase = 2 * np.pi * np.cumsum(120 * shift * np.ones(len(time))) / RATE
    tones = sum(np.sin(k * phase + k) / k for k in range(1, 12))
    if kind == "noise":
        tones = np.zeros(len(time))
    if kind == "beating":
        tones = tones * (1 + np.sin(2 * np.pi * 4 * time))
    if kind == "knocks":
        tones = 4 * np.exp(-(time % 0.31) * 30) * rng.standard_normal(len(time))
    if kind == "valve":  # air for half of each 1.3 s
        noise = noise * np.where(time % 1.3 < 0.65, 1.0, 0.1)
    sound = tones / max(tones.std(), 1e-9) + noise / noise.std()
    return sound / sound.std()


@pytest.mark.slow
@pytest.mark.parametrize(("pitch", "kind"), [(100.0, "noise"), (130.0, "steady"), (200.0, "beating")])
def test_a_speaker_as_loud_as_the_machine_is_found(pitch, kind):
    alone = speaker(pitch, seed=int(pitch))
    for sound in (machine(kind) + alone, alone):
        assert has_voice((0.05 * sound).astype(np.float32))


@pytest.mark.parametrize("kind", ["steady", "flutter", "run-up", "noise", "beating", "knocks", "valve"])
def test_machines_have_no_voice(kind):
    assert voice_score((0.05 * machine(kind)).astype(np.float32)) < VOICE_SCORE / 2


def test_level_does_not_matter_and_short_recordings_say_nothing():
    mixed = (machine("steady") + speaker()).astype(np.float32)
    assert voice_score(0.1 * mixed) == pytest.approx(voice_score(0.001 * mixed), rel=0.05)
    assert voice_score(mixed[: 2 * RATE]) == 0.0
    assert voice_score(np.zeros(5 * RATE, np.float32)) == 0.0


@pytest.mark.slow
def test_check_says_it_of_many_recordings(tmp_path, capsys):
    for number in range(6):
        sound = machine("steady", seed=number)
        sound = sound + speaker(110 + 20 * number, seed=number) * (number < 3)
        soundfile.write(tmp_path / f"{number}.wav", 0.05 * sound, RATE)
    assert main(["check", str(tmp_path), "--json", str(tmp_path / "result.jsonl")]) == 0
    assert "all: speech or other voices in 3 of 6 recordings: they would count as normal" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "result.jsonl").read_text().splitlines()]
    assert [row["has_voice"] for row in rows] == [True, True, True, False, False, False]
    (tmp_path / "0.wav").unlink()
    assert main(["check", str(tmp_path)]) == 0
    assert "speech" not in capsys.readouterr().out  # two may be a mistake
