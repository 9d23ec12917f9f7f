"""Acoustic features in the terms of a maintenance engineer: levels, tones, swells, knocks, rhythms."""

import numpy as np
import scipy.fft

from .reading import SAMPLING_RATE


LOWEST_HZ, HIGHEST_HZ = 20.0, 8000.0
LONG, SHORT = 8192, 1024  # samples of a window: 2 Hz apart for tones, 64 ms for moments; both overlap by half
FRAME_SECONDS = SHORT / 2 / SAMPLING_RATE
STEADY_FRAMES = 17  # 0.5 s: what is shorter is a knock, what lasts longer is a burst
SILENCE = 1e-12  # power below -120 dB of full scale is the rounding of a file
SOUNDS = ("level", "tone", "rhythm", "burst", "knock")  # what is the machine's, and not the recording's
QUIET_SHARE = 0.2  # a burst may last for all but this share of a clip


def log_grid(low: float, high: float, per_octave: int) -> np.ndarray:
    """Edges of bands in Hz that divide each octave into equal parts, from `low` up to at most `high`."""
    return low * 2 ** (np.arange(int(per_octave * np.log2(high / low) + 1e-9) + 1) / per_octave)


LEVEL_EDGES = log_grid(LOWEST_HZ, HIGHEST_HZ, 6)
EVENT_EDGES = log_grid(80.0, HIGHEST_HZ, 3)
SPECTRUM_HZ = 62.5  # width of the bands of `spectrum`: where a filter cuts, on a scale that is fine at the top as well
TONE_EDGES = log_grid(LOWEST_HZ, HIGHEST_HZ, 24)
OCTAVE_EDGES = log_grid(125.0, HIGHEST_HZ, 1)
RATE_EDGES = log_grid(6.0, 128.0, 12)  # repetitions a second
RHYTHM_SECONDS = 2  # of a window: 0.5 Hz apart


def extract_features(samples: np.ndarray) -> dict[str, np.ndarray]:
    """
    The acoustic features of a clip.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz, full scale at 1; at least 0.5 s.

    Returns:
        `dict[str, np.ndarray]`, all float32 and in dB:
        - `level` (`(51,)`): of full scale in each sixth of an octave from 20 Hz, median over time;
        - `spectrum` (`(128,)`): the same in each 62.5 Hz up to 8 kHz;
        - `tone` (`(207,)`): how far the strongest line in each 24th of an octave stands above the octave around it;
        - `event` (`(19, frames)`): level in each third of an octave from 80 Hz every 32 ms;
        - `steady` (`(19, frames)`): its running median over 0.5 s;
        - `loudness` (`(frames,)`): level of all of them together;
        - `rhythm` (`(6, 52)`): in each octave from 125 Hz, how far each repetition rate from 6 to 128 a second stands
          out of the spectrum of the squared envelope (J. Antoni, "Cyclic spectral analysis of rolling-element bearing
          signals", J. Sound Vib. 304, 2007): sidebands in the spectrum lie that many Hz apart.
    """
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    power = _power(samples, LONG)
    lines = np.maximum.reduceat(_decibels(power).mean(0), _starts(LONG, TONE_EDGES))[:-1]
    short = _power(samples, SHORT)
    moments = _bands(short, SHORT, EVENT_EDGES).T
    event = _decibels(moments)
    return {
        "level": _level(power),
        "spectrum": _spectrum(short),
        "tone": lines - running_median(lines, 25),
        "event": event,
        "steady": _running_median(event),
        "loudness": _decibels(moments.sum(0)),
        "rhythm": _rhythm(samples),
    }


def extract_levels(samples: np.ndarray) -> dict[str, np.ndarray]:
    """`level` and `spectrum` of [`extract_features`] alone, in a quarter of the time."""
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    return {"level": _level(_power(samples, LONG)), "spectrum": _spectrum(_power(samples, SHORT))}


def _level(long: np.ndarray) -> np.ndarray:
    return np.median(_decibels(_bands(long, LONG, LEVEL_EDGES)), axis=0)


def _spectrum(short: np.ndarray) -> np.ndarray:
    width = round(SPECTRUM_HZ * SHORT / SAMPLING_RATE)
    return np.median(_decibels(short[:, :-1].reshape(len(short), -1, width).sum(2)), axis=0)


def _running_median(event: np.ndarray) -> np.ndarray:
    half = STEADY_FRAMES // 2
    # Mirrored: the first moment repeated would make a swell of a knock at the very start.
    padded = np.pad(event, ((0, 0), (half, half)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, STEADY_FRAMES, axis=1)
    return np.partition(windows, half, axis=2)[:, :, half]


def running_median(values: np.ndarray, width: int) -> np.ndarray:
    """Median over `width` (odd) neighboring values; the first and last value are repeated beyond the ends."""
    # As scipy.ndimage.median_filter, whose import takes long compared with scoring a clip.
    padded = np.pad(values, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.partition(windows, width // 2, axis=1)[:, width // 2]


def _power(samples: np.ndarray, window: int) -> np.ndarray:
    """Power spectra of windows half a window apart, `(frames, window / 2 + 1)`: a sine of full scale gives 0.5."""
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    # The periodic Hann window of scipy.signal, whose import takes a second.
    taper = (0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, window + 1)[:-1])).astype(np.float32)
    scale = np.float32(2 / (window * np.square(taper).sum()))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[:: window // 2]
    spectra = np.asarray(scipy.fft.rfft(frames * taper, axis=1))
    return (np.square(np.real(spectra)) + np.square(np.imag(spectra))) * scale


def _decibels(power: np.ndarray) -> np.ndarray:
    return np.float32(10) * np.log10(power + np.float32(SILENCE))


def _starts(window: int, edges: np.ndarray) -> np.ndarray:
    return np.round(edges * (window / SAMPLING_RATE)).astype(int)


def _bands(power: np.ndarray, window: int, edges: np.ndarray) -> np.ndarray:
    """Power in each band, `(frames, bands)`."""
    return np.add.reduceat(power, _starts(window, edges), axis=1)[:, :-1]


def _rhythm(samples: np.ndarray) -> np.ndarray:
    # A length without large prime factors, at most a twentieth shorter: others take up to four times as long.
    samples = samples[: scipy.fft.prev_fast_len(len(samples), real=True)]
    spectrum = np.asarray(scipy.fft.rfft(samples))
    seconds = len(samples) / SAMPLING_RATE
    result = np.zeros((len(OCTAVE_EDGES) - 1, len(RATE_EDGES) - 1), dtype=np.float32)
    for row, low in enumerate(OCTAVE_EDGES[:-1]):
        # Only this octave, shifted down to 0 Hz and sampled at its bandwidth: its analytic signal.
        band = np.asarray(scipy.fft.ifft(spectrum[int(low * seconds) : int(2 * low * seconds)]))
        envelope = np.square(np.real(band)) + np.square(np.imag(band))
        window = round(min(RHYTHM_SECONDS, seconds) * low)
        lines = _decibels(_power(envelope / (envelope.mean() + np.float32(1e-20)) - 1, window).mean(0))
        hertz = RATE_EDGES * (window / low)
        inside = RATE_EDGES[1:] < 0.45 * low
        cells = np.maximum.reduceat(lines, np.minimum(np.round(hertz), len(lines) - 1).astype(int))[:-1][inside]
        result[row, inside] = cells - running_median(cells, 19)
    return result


def tone_hertz(cell: int) -> float:
    """Frequency of the lines that a cell of `tone` stands for: below 70 Hz several cells share one line."""
    first, after = _starts(LONG, TONE_EDGES)[cell : cell + 2]
    return float(first + max(after - 1, first)) / 2 * SAMPLING_RATE / LONG


def summarize_features(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """
    The acoustic features of a clip as values that can be compared with those of other clips.

    Args:
        features (`dict[str, np.ndarray]`): of [`extract_features`].

    Returns:
        `dict[str, np.ndarray]`, in dB: `level`, `spectrum` and `tone` as they are, `rhythm` in one row, `burst` and
        `knock` (both `(19,)`: how far a band swells for 0.5 s or longer, and for less), `dropout` and `loudness` (both
        `(1,)`).
    """
    loudness = np.median(features["loudness"], keepdims=True)
    return {
        "level": features["level"],
        "spectrum": features["spectrum"],
        "tone": features["tone"],
        "rhythm": features["rhythm"].ravel(),
        "burst": features["steady"].max(1) - np.quantile(features["steady"], QUIET_SHARE, axis=1),
        "knock": (features["event"] - features["steady"]).max(1),
        "dropout": loudness - features["loudness"].min(keepdims=True),
        "loudness": loudness,
    }
