"""What single normal clips do to the threshold."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..config import ScoringConfig
from ..explanation.input_ranges import unusual_count
from ..memory_bank import MemoryBank, build_memory_bank
from .findings import TrainingFindings


# The gap below the highest score, as a multiple of the distance from the median to the score below the gap. Of healthy
# sets one in fifty has a larger one; few clips have larger gaps by chance.
OUTLIER_GAP, OUTLIER_GAP_OF_FEW = 1.5, 25.0  # the second is divided by the number of clips
FEWEST_CLIPS = 8
MOST_EFFECTS = 5  # clips that are tried one by one: each takes a memory bank


def outliers(scores: Mapping[str, float]) -> list[str]:
    """
    The clips whose score lies so far above all others that they set the threshold alone.

    Args:
        scores (`Mapping[str, float]`): leave-one-out scores of normal clips by name.

    Returns:
        `list[str]`: the highest first; at most a tenth of the clips.
    """
    names, values = list(scores), np.array(list(scores.values()))
    if len(values) < FEWEST_CLIPS:
        return []
    order = np.argsort(values)[::-1]
    middle, needed = float(np.median(values)), OUTLIER_GAP + OUTLIER_GAP_OF_FEW / len(values)
    for count in range(unusual_count(len(values)), 0, -1):
        last, following = values[order[count - 1]], values[order[count]]
        if last - following > needed * max(following - middle, 1e-9):
            return [names[place] for place in order[:count]]
    return []


def describe_effects(
    findings: TrainingFindings, bank: MemoryBank, kept: Dataset, everything: Dataset, names: Sequence[str]
) -> None:
    """
    Adds outliers to the findings about a machine, and to each recording that is left out or unusual what it does to
    the threshold.

    Args:
        findings ([`TrainingFindings`]): of the machine; changed.
        bank ([`MemoryBank`]): of the clips that the detector learned from.
        kept, everything (`datasets.Dataset`): its normal clips with embeddings, without and with those left out.
        names (`Sequence[str]`): of the clips of `everything`.
    """
    by_id = dict(zip(everything["clip_id"][:], names, strict=True))
    places = {name: place for place, name in enumerate(names)}
    kept_places = [places[by_id[clip_id]] for clip_id in kept["clip_id"][:]]

    def threshold_without(name: str) -> float | None:
        return _threshold(everything.select([place for place in kept_places if place != places[name]]), bank.config)

    for name in list(findings.left_out)[:MOST_EFFECTS]:
        other = _threshold(everything.select(sorted([*kept_places, places[name]])), bank.config)
        findings.left_out[name] += _effect("With", other, bank.threshold)
    for name in list(findings.unusual)[:MOST_EFFECTS]:
        findings.unusual[name] += _effect("Without", threshold_without(name), bank.threshold)
    scores = bank.leave_one_out_scores()
    middle = float(np.median(bank.normal_scores))
    for clip_id in outliers(scores)[:MOST_EFFECTS]:
        name, other = by_id[clip_id], threshold_without(by_id[clip_id])
        # A gap that does not raise the threshold is a chance of few clips.
        if name not in findings.unusual and other is not None and other < bank.threshold:
            findings.unusual[name] = (
                f"it scores {scores[clip_id]:.4g} against the others, half of which score at most {middle:.4g}."
                + _effect("Without", other, bank.threshold)
            )


def _threshold(rows: Dataset, config: ScoringConfig) -> float | None:
    """Of a detector that learned from other clips; `None` where these are too few."""
    if len(rows) <= config.minimum_clips:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the method of the threshold; the detector itself has given them
        return build_memory_bank(rows, config).threshold


def _effect(word: str, other: float | None, threshold: float) -> str:
    if other is None:
        return ""
    if abs(other - threshold) < 0.01 * max(abs(threshold), abs(other)):
        return f" {word} it the threshold is the same."
    return f" {word} it the threshold would be {other:.4g} instead of {threshold:.4g}."
