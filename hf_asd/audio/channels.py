"""One signal from the channels of a recording: one of them, their mean, or a near microphone minus a far one."""

from typing import TYPE_CHECKING, Literal

import numpy as np


if TYPE_CHECKING:
    from scipy.signal import ShortTimeFFT


# A channel counted from 0, the mean of all, or what two channels, near the machine and far from it, make together.
Channel = int | Literal["mean", "near-minus-far", "spectral-subtraction"]
NEAR_FAR = ("near-minus-far", "spectral-subtraction")  # channel 0 is near the machine, channel 1 far (DCASE 2026)
WINDOW, HOP = 1024, 512
# At least this share of the near microphone's power remains (-20 dB), so that errors of the noise estimate do not
# leave isolated tones (M. Berouti, R. Schwartz, J. Makhoul, "Enhancement of speech corrupted by acoustic noise",
# ICASSP 1979).
SPECTRAL_FLOOR = 0.01


def describe_channel(channel: Channel) -> str:
    """Which channel is used, in words for cards."""
    return {
        "mean": "the mean of all channels",
        "near-minus-far": "channel 0, near the machine, minus what channel 1, far from it, explains by one filter",
        "spectral-subtraction": "channel 0, near the machine, minus the power that channel 1, far from it, explains",
    }.get(str(channel), f"channel {channel}")


def select_channel(samples: np.ndarray, channel: Channel = 0) -> np.ndarray:
    """
    One signal from all channels.

    Args:
        samples (`np.ndarray` of shape `(samples, channels)`): float32.
        channel (`int` or `str`, *optional*, defaults to 0): a channel counted from 0; `"mean"` of all channels; or,
            with two channels of which the first is near the machine and the second far from it, `"near-minus-far"`
            ([`subtract_far`]) or `"spectral-subtraction"` ([`subtract_far_spectrum`]).

    Returns:
        `np.ndarray` of shape `(samples,)`, float32.

    Raises:
        ValueError: the recording lacks the channel.
    """
    count = samples.shape[1]
    if channel == "mean":
        return samples.mean(axis=1)
    if channel in NEAR_FAR and count == 2:
        near, far = samples.T
        return subtract_far(near, far) if channel == "near-minus-far" else subtract_far_spectrum(near, far)
    if isinstance(channel, int) and 0 <= channel < count:
        return samples[:, channel]
    accepted = f"0 to {count - 1} or 'mean'" + (f", {' or '.join(map(repr, NEAR_FAR))}" if count == 2 else "")
    needs = " (which needs 2 channels, near and far)" if channel in NEAR_FAR else ""
    raise ValueError(f"has {count} channel(s), asked for channel {channel!r}{needs}. Accepted: {accepted}.")


def subtract_far(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """
    The near microphone minus the part of it that the far one explains by one least-squares filter over the whole clip.

    Per frequency `H = <near, conj(far)> / <|far|^2>` over the frames of a short-time Fourier transform (Hann window of
    1024 samples, 512 apart), and `near - H far` remains (B. Widrow et al., "Adaptive noise canceling", Proc. IEEE 63,
    1975, with the filter solved for the clip at once). The far microphone also picks up the machine, and at a
    frequency that contains only the machine, `H far` would be the machine itself. So `|H|` is limited to 1: the
    background is about equally loud at both microphones, while the machine is louder at the near one; of a sound that
    is `r` times as loud there, at least `1 - 1/r` remains.

    Args:
        near, far (`np.ndarray` of shape `(samples,)`): float32, recorded at the same time with the same gain.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32.
    """
    transform = _transform()
    n, f = transform.stft(near), transform.stft(far)
    response = _least_squares(n, f)
    response /= np.maximum(np.abs(response), 1)
    return transform.istft(n - response[:, None] * f, k1=len(near)).astype(np.float32)


def subtract_far_spectrum(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """
    The near microphone with the power that the far one explains subtracted frame by frame; the phase is kept.

    Spectral subtraction (S. Boll, "Suppression of acoustic noise in speech using spectral subtraction", IEEE Trans.
    ASSP 27, 1979) with the far microphone, through the filter of [`subtract_far`], as the estimate of the noise. At
    least 1 % of the power remains.

    Args:
        near, far (`np.ndarray` of shape `(samples,)`): float32, recorded at the same time with the same gain.

    Returns:
        `np.ndarray` of shape `(samples,)`, float32.
    """
    transform = _transform()
    n, f = transform.stft(near), transform.stft(far)
    gain = np.minimum(np.abs(_least_squares(n, f)), 1)
    power = np.square(np.abs(n))
    kept = np.maximum(power - np.square(gain[:, None] * np.abs(f)), SPECTRAL_FLOOR * power)
    return transform.istft(n * np.sqrt(kept / np.maximum(power, 1e-20)), k1=len(near)).astype(np.float32)


def _transform() -> "ShortTimeFFT":
    from scipy.signal import ShortTimeFFT  # takes a second; most recordings have one channel
    from scipy.signal.windows import hann

    return ShortTimeFFT(hann(WINDOW, sym=False), HOP, fs=1)


def _least_squares(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    return (near * far.conj()).sum(1) / np.maximum(np.square(np.abs(far)).sum(1), 1e-20)
