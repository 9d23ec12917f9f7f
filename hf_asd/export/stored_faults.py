"""Faults of a recorder in a batch of waveforms: sound that is cut out, and samples that are cut off at the top."""

import math

import torch

from ..audio.clipping import CREST, FEWEST, NEIGHBORS, OUTLIERS
from ..audio.reading import SAMPLING_RATE
from ..audio.stored_sound import ABRUPT, EDGE_SECONDS, GAP_SECONDS, PADDING_SECONDS, SILENCE_PEAK


LONG_RUN = math.ceil(GAP_SECONDS * SAMPLING_RATE)
LONG_PADDING = math.ceil(PADDING_SECONDS * SAMPLING_RATE)
MOST_GAPS = 128
EDGE = round(EDGE_SECONDS * SAMPLING_RATE)
SAMPLES_AN_OUTLIER = round(1 / OUTLIERS)
MOST_OUTLIERS = 1024
LONGEST_SAMPLES = SAMPLES_AN_OUTLIER * MOST_OUTLIERS - 1  # 256 s
FINE, COARSE = 2.0**-23, 2.0**-15  # steps of 24 and of 16 bits
DEPTHS = 1 << 19  # steps below the top that are told apart: a sixteenth of full scale with 24 bits, all with 16
LOOKED_AT = 1 << 12  # samples whose values tell which of the two it is


def is_silent(waveform: torch.Tensor) -> torch.Tensor:
    """[`~hf_asd.audio.stored_sound.is_silent`] of `(clips, samples)`: `(clips,)`, bool."""
    return (waveform.amax(1) - waveform.amin(1)) / 2 < SILENCE_PEAK


def gap_seconds(waveform: torch.Tensor) -> torch.Tensor:
    """
    How long sound is cut out, as [`~hf_asd.audio.stored_sound.stored_sound`] finds it: runs of one value that begin
    and end abruptly.

    Args:
        waveform (`torch.Tensor` of shape `(clips, samples)`): float32, 16 kHz.

    Returns:
        `torch.Tensor` of shape `(clips,)`, float32.
    """
    count = waveform.shape[1]
    changes = (waveform[:, 1:] != waveform[:, :-1]).long()
    run = torch.nn.functional.pad(changes.cumsum(1), (1, 0))
    # The length of each run in turn; behind the last run all are 0.
    lengths = torch.zeros_like(run).scatter_add(1, run, torch.ones_like(run))
    ends = lengths.cumsum(1)
    lengths, longest = lengths.topk(MOST_GAPS, dim=1)
    ends = ends.gather(1, longest)
    starts = ends - lengths
    value = waveform.gather(1, starts.clamp_max(count - 1))
    abrupt = ABRUPT * waveform.std(1, correction=0, keepdim=True)

    def is_abrupt(first: torch.Tensor) -> torch.Tensor:
        """Whether one of the samples that follow within 2 ms lies far from the run."""
        places = first[..., None] + torch.arange(EDGE)
        some = waveform.gather(1, places.clamp(0, count - 1).flatten(1)).unflatten(1, (MOST_GAPS, EDGE))
        is_inside = (places >= 0) & (places < count)
        return (is_inside & ((some - value[..., None]).abs() >= abrupt[..., None])).any(2)

    inside = is_abrupt(starts - EDGE) & is_abrupt(ends)
    inside = inside & (value.abs() < waveform.abs().amax(1, keepdim=True))  # else clipped for that long
    at_edge = (starts == 0) | (ends == count)
    is_gap = (lengths >= LONG_RUN) & ((at_edge & (lengths >= LONG_PADDING)) | (~at_edge & inside))
    return (lengths * is_gap).sum(1).float() / SAMPLING_RATE


def clipped_share(waveform: torch.Tensor) -> torch.Tensor:
    """
    [`~hf_asd.audio.clipping.clipped_share`] of a batch.

    Args:
        waveform (`torch.Tensor` of shape `(clips, samples)`): float32.

    Returns:
        `torch.Tensor` of shape `(clips,)`, float32.
    """
    some = waveform[:, :LOOKED_AT] / COARSE
    is_coarse = (some == some.round()).all(1, keepdim=True)
    step = torch.where(is_coarse, COARSE, FINE)
    clips, samples = waveform.shape
    both_sides = torch.cat([waveform, -waveform])
    piles = _pile(both_sides, both_sides.mean(1, keepdim=True), torch.cat([step, step]))
    share = (piles[:clips] + piles[clips:]) / samples
    return torch.where(is_silent(waveform), 0.0, share.clamp_max(1))


def _pile(waveform: torch.Tensor, middle: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """The number of samples on a flat top, `(clips,)`; 0 where they are no more than elsewhere near the top."""
    outliers = (torch.arange(MOST_OUTLIERS) == waveform.shape[1] // SAMPLES_AN_OUTLIER).float()
    top = waveform.topk(MOST_OUTLIERS, dim=1).values @ outliers[:, None]
    second = _next_value(waveform, top - 1.5 * step)
    third = _next_value(waveform, second - 0.5 * step)
    distance = torch.where(third > -math.inf, torch.maximum(second - third, step), step)
    reach = torch.maximum(CREST * top, NEIGHBORS * distance)
    near = (waveform > top - reach) & (waveform < top + 1.5 * step)
    found = [
        _flat_top(waveform, near, top, width, torch.maximum(width, distance) / reach) for width in (step, 3 * step)
    ]
    return torch.where((top - middle <= distance)[:, 0], 0, torch.maximum(*found))


def _next_value(waveform: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    return torch.where(waveform < limit, waveform, -math.inf).amax(1, keepdim=True)


def _flat_top(
    waveform: torch.Tensor, near: torch.Tensor, top: torch.Tensor, width: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    at_top = (near & ((waveform - top).abs() < width / 2)).sum(1)
    below = near & (waveform < top + width / 2)
    crest = below.sum(1) * share.sqrt()[:, 0]
    depths = torch.where(below, (top + width / 2 - waveform) / width, 0.0).long() % DEPTHS
    # Depth 0 holds the top and all that is not near it.
    counts = torch.zeros_like(waveform[:, :1]).expand(-1, DEPTHS).scatter_add(1, depths, below.float())
    others = counts[:, 1:].amax(1)
    return torch.where((at_top >= FEWEST) & (at_top > 2 * torch.maximum(others, crest)), at_top, 0)
