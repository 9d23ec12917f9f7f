"""Normal recordings that are there twice: equal samples, or the same sound stored louder, shifted or compressed."""

import hashlib
from collections.abc import Sequence

import numpy as np


FRAME, HOP = 128, 64  # samples
FRAMES = 1250  # of a fingerprint: the first 5 s
TREND = 33  # frames: slower changes, which many machines repeat, do not count
LOUDEST = 3.0  # standard deviations: so that one bang does not make a fingerprint
SAME_SOUND = 0.9  # correlation of two fingerprints; of independent recordings it is below 0.75
PART, NEAR = 5, 0.21  # every fifth value; more than the squared distance of two fingerprints with this correlation
UNLIKE = 0.5  # clips that all resemble one another, such as pure tones, are not copies
BLOCK = 512  # clips that are compared at a time


def digest(samples: np.ndarray) -> bytes:
    """The same for equal samples only, whatever file they came from."""
    return hashlib.blake2b(np.ascontiguousarray(samples + 0.0, dtype=np.float32).tobytes(), digest_size=16).digest()


def fingerprint(samples: np.ndarray) -> np.ndarray:
    """
    How the energy of a clip fluctuates from 4 ms to 4 ms, which depends neither on its level nor on its spectrum. The
    noise of a machine never fluctuates the same way twice.

    Args:
        samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz.

    Returns:
        `np.ndarray` of shape `(1250,)`, float16, of length 1; zeros beyond the end of a shorter clip.
    """
    energy = np.square(np.diff(samples[: HOP * FRAMES + FRAME], prepend=samples[:1]).astype(np.float64))
    total = np.concatenate([[0.0], np.cumsum(energy)])
    starts = np.arange(min(FRAMES, (len(energy) - FRAME) // HOP + 1)) * HOP
    course = np.log(total[starts + FRAME] - total[starts] + 1e-14)
    smooth = np.convolve(np.pad(course, TREND // 2, mode="edge"), np.ones(TREND) / TREND, mode="valid")
    course = course - smooth
    scale = 1.4826 * np.median(np.abs(course)) + 1e-9
    course = np.clip(course / scale, -LOUDEST, LOUDEST)
    course -= course.mean()
    result = np.zeros(FRAMES, dtype=np.float16)
    result[: len(course)] = course / max(float(np.linalg.norm(course)), 1e-9)
    return result


def find_copies(digests: Sequence[bytes], fingerprints: np.ndarray) -> dict[int, int]:
    """
    Args:
        digests (`Sequence[bytes]`): of [`digest`], of the clips of one machine.
        fingerprints (`np.ndarray` of shape `(clips, 1250)`): of [`fingerprint`].

    Returns:
        `dict[int, int]`: by the number of a clip that is a copy, the number of the first clip that it is a copy of.
    """
    first: dict[bytes, int] = {}
    copies = {row: first[one] for row, one in enumerate(digests) if first.setdefault(one, row) != row}
    singles = np.array([row for row in range(len(digests)) if row not in copies], dtype=int)
    for row, other in _alike(fingerprints[singles].astype(np.float32)):
        earlier, later = singles[other], singles[row]
        copies.setdefault(int(later), copies.get(int(earlier), int(earlier)))
    return {row: copies.get(other, other) for row, other in copies.items()}


def _alike(prints: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of clips with the same sound, the later one first."""
    # Fingerprints that lie far apart in a part of their values lie far apart in all of them.
    part = np.ascontiguousarray(prints[:, ::PART])
    half_squares = np.square(part).sum(1) / 2
    pairs = []
    for start in range(0, len(prints), BLOCK):
        stop = min(start + BLOCK, len(prints))
        nearness = part[start:stop] @ part[:stop].T
        nearness -= half_squares[None, :stop]
        near = nearness > (half_squares[start:stop] - NEAR / 2)[:, None]
        near[:, start:] &= np.tri(stop - start, k=-1, dtype=bool)  # earlier clips only
        rows = start + np.flatnonzero(near.any(1))
        for row, likeness in zip(rows.tolist(), prints[rows] @ prints.T, strict=True):
            if np.median(likeness) < UNLIKE:
                pairs += [(row, other) for other in np.flatnonzero(likeness[:row] > SAME_SOUND).tolist()]
    return pairs


class KnownClips:
    """
    Clips that a detector learned from by their sound, to find them again among others.

    Args:
        names (`Sequence[str]`): of the clips.
        digests (`np.ndarray` of shape `(clips, 16)`): bytes of [`digest`].
        fingerprints (`np.ndarray` of shape `(clips, 1250)`): of [`fingerprint`].
    """

    def __init__(self, names: Sequence[str], digests: np.ndarray, fingerprints: np.ndarray):
        self._names, self._prints = names, fingerprints.astype(np.float32)
        self._digests: dict[bytes, str] = {}
        for name, one in zip(names, digests, strict=True):
            self._digests.setdefault(one.tobytes(), name)

    def find(self, samples: np.ndarray) -> str | None:
        """
        The name of a clip with the same sound, if there is one.

        Args:
            samples (`np.ndarray` of shape `(samples,)`): float32 at 16 kHz.
        """
        equal = self._digests.get(digest(samples))
        if equal is not None:
            return equal
        likeness = self._prints @ fingerprint(samples).astype(np.float32)
        best = int(likeness.argmax())
        return self._names[best] if likeness[best] > SAME_SOUND and np.median(likeness) < UNLIKE else None
