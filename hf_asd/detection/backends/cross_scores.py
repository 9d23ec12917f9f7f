"""Scores of the normal clips by a backend that was built without them, where there is no closed form for these."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .protocol import Scorer


FOLDS = 10
# A recording with more of a bank's pieces than this is not left out as a whole: too few pieces would remain.
MOST_LEFT_OUT = 2 / 3
# Scores are extrapolated where so many parts are left out one at a time. Of fewer, two that are left out say too
# little about one, and that their scores are high makes up for how much so few differ by chance
# (benchmarks/sessions.py). Of more, scores without one are hardly higher.
FEWEST_PARTS, MOST_PARTS = 6, 10

# Rows of a bank that are scored, and the rows that they are compared with.
Split = tuple[torch.Tensor, torch.Tensor]


def cross_scores(
    build: Callable[[torch.Tensor], Scorer], bank: torch.Tensor, splits: Sequence[Split] | None = None
) -> torch.Tensor:
    """
    The score of each clip of a bank by a backend that was built without it. Where a backend of fewer clips gives
    higher scores, so are these, and a threshold from them raises fewer false alarms, not more.

    Args:
        build (`Callable`): makes a backend of a bank.
        bank (`torch.Tensor` of shape `(references, dimensions)`): embeddings of normal clips.
        splits (`Sequence[Split]`, *optional*): which clips are scored by which; each is scored once. By default ten
            folds, or each clip by all others where there are at most twenty.

    Returns:
        `torch.Tensor` of shape `(references,)`, float64.
    """
    scores = torch.empty(len(bank), dtype=torch.float64, device=bank.device)
    for scored, kept in cross_splits(len(bank)) if splits is None else splits:
        scores[scored] = build(bank[kept]).score(bank[scored])
    return scores


def extrapolated_scores(
    build: Callable[[torch.Tensor], Scorer], bank: torch.Tensor, splits: Sequence[Split]
) -> torch.Tensor:
    """
    The score that each clip of a bank would have by a backend of as many parts as the bank has, were the clip new.

    A part (a recording, a session) that is left out is compared with one part fewer than a new clip is, and gets
    higher scores. By how much shows when one more is left out: scores fall with the number of parts `k` as `1 / k`,
    so that from `k - 1` to `k` parts they fall `(k - 2) / k` times as much as from `k - 2` to `k - 1`. (For means this
    is the jackknife of M. Quenouille 1956, "Notes on bias in estimation", one step further.) Each part is left out
    together with the next one and the one before it.

    Args:
        build, bank: as for [`cross_scores`].
        splits (`Sequence[Split]`): of [`recording_splits`].

    Returns:
        `torch.Tensor` of shape `(references,)`, float64: of [`cross_scores`], not extrapolated, with fewer than six or
        more than ten splits, where two parts hold more than half of the clips, or where one recording is left out in
        blocks.
    """
    scores = cross_scores(build, bank, splits)
    pairs = list(zip(splits, [*splits[1:], *splits[:1]], strict=True))
    kept = [others[~torch.isin(others, second)] for (_, others), (second, _) in pairs]
    is_in_blocks = any(len(scored) + len(others) < len(bank) for scored, others in splits)
    are_few_left = 2 * min(map(len, kept)) < len(bank)
    if not FEWEST_PARTS <= len(splits) <= MOST_PARTS or are_few_left or is_in_blocks:
        return scores
    without_two = torch.zeros_like(scores)
    for ((first, _), (second, _)), rest in zip(pairs, kept, strict=True):
        scored = torch.cat([first, second])
        without_two[scored] += build(bank[rest]).score(bank[scored]) / 2
    return scores - (without_two - scores) * (len(splits) - 2) / len(splits)


def single_splits(count: int) -> list[Split]:
    """Splits that leave out one clip at a time."""
    everything = torch.arange(count)
    return [(everything[row : row + 1], everything[everything != row]) for row in range(count)]


def recording_splits(recordings: np.ndarray) -> list[Split]:
    """
    Splits for clips of which some are pieces of one recording: no piece is compared with its own recording.

    Recordings are left out one at a time, or in ten folds where there are more than twenty. Of a recording that holds
    more than two thirds of the clips, a tenth of its time is left out at a time (a piece where it has at most twenty),
    with the piece before and the piece after it.

    Args:
        recordings (`np.ndarray` of shape `(clips,)`): a number for each clip, the same for all pieces of a recording;
            these in the order of time.

    Returns:
        `list[Split]`: each clip is scored in one of them.
    """
    numbers, own, pieces = np.unique(recordings, return_inverse=True, return_counts=True)
    everything, splits = np.arange(len(recordings)), []
    is_long = pieces > MOST_LEFT_OUT * len(recordings)
    for fold in _parts(np.random.default_rng(0).permutation(np.flatnonzero(~is_long))):
        scored = np.flatnonzero(np.isin(own, fold))
        splits.append((scored, np.setdiff1d(everything, scored)))
    for number in np.flatnonzero(is_long):
        rows = np.flatnonzero(own == number)
        for block in _parts(np.arange(len(rows))):
            near = rows[max(block[0] - 1, 0) : block[-1] + 2]
            splits.append((rows[block], np.setdiff1d(everything, near)))
    return [(torch.from_numpy(scored), torch.from_numpy(kept)) for scored, kept in splits]


def fewest_kept(recordings: np.ndarray) -> int:
    """The fewest clips that a clip is compared with in [`recording_splits`]."""
    return min(len(kept) for _, kept in recording_splits(recordings))


def cross_splits(count: int) -> list[Split]:
    """Splits that leave out a tenth of the clips at a time, or one clip where there are at most twenty."""
    folds = _parts(np.random.default_rng(0).permutation(count))
    everything = np.arange(count)
    return [(torch.from_numpy(fold), torch.from_numpy(np.setdiff1d(everything, fold))) for fold in folds]


def _parts(order: np.ndarray) -> list[np.ndarray]:
    """Each one alone where there are at most twenty, else ten folds of neighbors in the given order."""
    return np.array_split(order, len(order) if len(order) <= 2 * FOLDS else FOLDS) if len(order) else []
