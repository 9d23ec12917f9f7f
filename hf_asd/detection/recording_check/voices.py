"""Speech and other voices in the background of a recording, without weights: pitch that moves as in sentences."""

from functools import cache

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

from ...audio.reading import SAMPLING_RATE


WINDOW, HOP, FFT_SIZE = 1024, 256, 4096  # samples: 64 ms, 16 ms
HIGHEST_HZ = 3600.0
HARMONICS_HZ = (150.0, 2400.0)  # of a voice that are looked for
LOWEST_PITCH_HZ, OCTAVES, STEPS_PER_SEMITONE = 75.0, 1.95, 3  # up to 290 Hz
USUAL_MOMENTS = 125  # 2 s: what is in a frequency for more than half of it belongs to the machine
LOCAL_BINS = 77  # 300 Hz: levels are compared with those around
LEVEL_RANGE = (-6.0, 15.0)  # dB around these
# Chosen with voices of espeak-ng over sounds of simulated and real machines.
FASTEST_STEPS, STEP_COST, JUMP_COST, SILENT_DB = 3, 0.05, 4.0, 2.0  # of the path of the pitch, a moment of 16 ms
VOICED_DB, LEAST_MOMENTS = 4.0, 8  # how far harmonics stand out, for 128 ms
LONGEST_MOMENTS, SYLLABLE_MOMENTS = 40, 12  # a longer segment counts no more; moves are within 200 ms
LEAST_MOVE, LARGEST_MOVE = 0.7, 3.0  # semitones
VOICE_RANGE = 7.0  # semitones between the segments of one voice
FEWEST_SEGMENTS = 3
OTHERS_COUNT = 0.5
VOICE_SCORE = 40.0
LEAST_SECONDS = 3.0


def has_voice(sound: np.ndarray) -> bool:
    """
    Whether a recording holds speech that is about as loud as the machine.

    Args:
        sound (`np.ndarray` of shape `(samples,)`): 16 kHz.
    """
    return voice_score(sound) > VOICE_SCORE


def voice_score(sound: np.ndarray) -> float:
    """
    How much in a recording sounds like voiced syllables of one voice; 0 for what is shorter than 3 s.

    What is always there is taken away: levels are compared with the median over 2 s of each frequency, so that
    lines of a machine count nothing. The pitch is then the path over time whose harmonics stand out most between the
    frequencies halfway (D. J. Hermes 1988, "Measurement of pitch by subharmonic summation"; paths as in P. Boersma
    1993). Segments of it that stand out for the time of a syllable count by how much their pitch moves, since the
    lines of a machine keep theirs; those beyond the range of one voice count against it, as pitches of noise are
    anywhere.
    """
    if len(sound) < LEAST_SECONDS * SAMPLING_RATE:
        return 0.0
    contrast = _levels(sound) @ _harmonic_sieve().T
    path = _pitch_path(contrast - SILENT_DB)
    strength = np.convolve(contrast[np.arange(len(path)), path], np.ones(5) / 5, "same")
    weights, pitches = [], []
    for start, end in _segments(strength, path):
        moved = np.convolve(path[start:end], np.ones(5) / 5, "valid") / STEPS_PER_SEMITONE
        # A machine that runs up moves its pitch too, but not within a syllable.
        spans = np.lib.stride_tricks.sliding_window_view(moved, min(SYLLABLE_MOMENTS, len(moved)))
        move = float(np.ptp(spans, axis=1).max())
        move = min(move, LARGEST_MOVE) if move >= LEAST_MOVE else 0.0
        stands_out = float(strength[start:end].mean()) - VOICED_DB + 1
        weights.append(min(end - start, LONGEST_MOMENTS) * stands_out * move)
        pitches.append(float(path[start:end].mean()) / STEPS_PER_SEMITONE)
    return _of_one_voice(np.array(weights), np.array(pitches))


def _of_one_voice(weights: np.ndarray, pitches: np.ndarray) -> float:
    """The segments within the range of a voice, without the strongest one: a single one may be anything."""
    if len(weights) < FEWEST_SEGMENTS:
        return 0.0
    scores = [0.0]
    for lowest in pitches:
        inside = (pitches >= lowest) & (pitches <= lowest + VOICE_RANGE)
        own = weights[inside]
        scores.append(float(own.sum() - own.max() - OTHERS_COUNT * weights[~inside].sum()))
    return max(scores)


def _levels(sound: np.ndarray) -> np.ndarray:
    """Levels in dB above the usual ones of each frequency and above those around, of shape `(moments, bins)`."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    taper = np.hanning(WINDOW).astype(np.float32)
    used = int(HIGHEST_HZ * FFT_SIZE / SAMPLING_RATE)
    spectra = np.asarray(scipy.fft.rfft(frames * taper, FFT_SIZE, axis=1))[:, :used]
    power = np.square(np.abs(spectra)) + 1e-12
    levels = 10 * np.log10(power)
    for part in np.array_split(levels, max(1, round(len(levels) / USUAL_MOMENTS))):  # views: lines drift slowly
        part -= np.median(part, axis=0)
    around = uniform_filter1d(levels, LOCAL_BINS, axis=1, mode="nearest")
    return np.clip(levels - around, *LEVEL_RANGE).astype(np.float32)


@cache
def _harmonic_sieve() -> np.ndarray:
    """
    For each pitch the weights of frequencies, of shape `(pitches, bins)`: the mean of its harmonics minus that of the
    frequencies halfway, scaled so that noise gives each pitch the same variance.
    """
    steps = 12 * STEPS_PER_SEMITONE
    pitches = LOWEST_PITCH_HZ * 2 ** (np.arange(0, OCTAVES, 1 / steps))
    weights = np.zeros((len(pitches), int(HIGHEST_HZ * FFT_SIZE / SAMPLING_RATE)), np.float32)
    for row, pitch in zip(weights, pitches, strict=True):
        numbers = np.arange(np.ceil(HARMONICS_HZ[0] / pitch), HARMONICS_HZ[1] // pitch + 1)
        for number in numbers:
            for place, weight in ((number, 1.0), (number - 0.5, -0.5), (number + 0.5, -0.5)):
                row[round(place * pitch * FFT_SIZE / SAMPLING_RATE)] += weight / len(numbers)
        row *= np.sqrt(len(numbers) / 10)
    return weights


def _pitch_path(gain: np.ndarray) -> np.ndarray:
    """
    The path of largest gain (Viterbi), which moves by a semitone a moment at most, or jumps at a cost.

    Args:
        gain (`np.ndarray` of shape `(moments, pitches)`): of each place.

    Returns:
        `np.ndarray` of shape `(moments,)`: numbers of pitches.
    """
    moments, pitches = gain.shape
    offsets = np.arange(-FASTEST_STEPS, FASTEST_STEPS + 1)
    costs = STEP_COST * np.abs(offsets)
    before = np.zeros((moments, pitches), dtype=int)
    total = gain[0].astype(np.float64)
    for moment in range(1, moments):
        padded = np.pad(total, FASTEST_STEPS, constant_values=-np.inf)
        near = np.lib.stride_tricks.sliding_window_view(padded, len(offsets)) - costs
        chosen = near.argmax(1)
        best, before[moment] = near[np.arange(pitches), chosen], np.arange(pitches) + offsets[chosen]
        top = int(total.argmax())
        jumps = total[top] - JUMP_COST > best
        before[moment, jumps] = top
        total = np.where(jumps, total[top] - JUMP_COST, best) + gain[moment]
    path = np.empty(moments, dtype=int)
    path[-1] = int(total.argmax())
    for moment in range(moments - 1, 0, -1):
        path[moment - 1] = before[moment, path[moment]]
    return path


def _segments(strength: np.ndarray, path: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of the moments in which harmonics stand out and the pitch does not jump."""
    is_on = np.append(strength > VOICED_DB, False)
    found, start = [], None
    for moment, is_voiced in enumerate(is_on):
        is_jump = start is not None and moment < len(path) and abs(path[moment] - path[moment - 1]) > FASTEST_STEPS
        if start is not None and (not is_voiced or is_jump):
            if moment - start >= LEAST_MOMENTS:
                found.append((start, moment))
            start = None
        elif start is None and is_voiced:
            start = moment
    return found
