"""What single normal clips do to the threshold."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset

from ..backends.events import WithEvents
from ..explanation.input_ranges import unusual_count
from ..memory_bank import MemoryBank, build_memory_bank
from .findings import TrainingFindings


# The gap below the highest score, as a multiple of the distance from the median to the score below the gap. Of healthy
# sets one in fifty has a larger one; few clips have larger gaps by chance.
OUTLIER_GAP, OUTLIER_GAP_OF_FEW = 3.0, 60.0  # the second is divided by the number of clips
FEWEST_CLIPS = 8
SAME_HEIGHT = 0.1
MOST_EFFECTS = 5  # clips that are tried one by one: each takes a memory bank


def outliers(scores: Mapping[str, float]) -> list[str]:
    """
    The clips whose score lies far above all others.

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


def find_outliers(bank: MemoryBank) -> dict[str, str]:
    """
    The normal clips of a machine that are unlike all others, and in what.

    Args:
        bank ([`MemoryBank`]): of the clips.

    Returns:
        `dict[str, str]`: sentences by `clip_id`.
    """
    clip_ids, found = list(bank.leave_one_out_scores()), {}
    scorer, scores = bank.scorer, bank.normal_scores
    if isinstance(scorer, WithEvents):
        scores = scorer.leave_one_out_scores.cpu().numpy()
        events = dict(zip(clip_ids, scorer.events.leave_one_out().tolist(), strict=True))
        for clip_id in outliers(events)[:MOST_EFFECTS]:
            found[clip_id] = "it holds a knock or dropout far above what the others hold."
    by_id = dict(zip(clip_ids, scores.tolist(), strict=True))
    unlike = outliers(by_id)
    middle, highest = float(np.median(scores)), max(score for clip_id, score in by_id.items() if clip_id not in unlike)
    for clip_id in unlike[:MOST_EFFECTS]:
        found.setdefault(
            clip_id,
            f"it scores {by_id[clip_id]:.4g} against the others, which score at most {highest:.4g}, half of them at "
            f"most {middle:.4g}.",
        )
    return found


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

    for name in list(findings.left_out)[:MOST_EFFECTS]:
        with_it = everything.select(sorted([*kept_places, places[name]]))
        findings.left_out[name] += _effect("With", with_it, bank)
    for name in list(findings.unusual)[:MOST_EFFECTS]:
        without_it = everything.select([place for place in kept_places if place != places[name]])
        findings.unusual[name] += _effect("Without", without_it, bank)
    for clip_id, why in find_outliers(bank).items():
        findings.unusual.setdefault(by_id[clip_id], why)


def _effect(word: str, rows: Dataset, bank: MemoryBank) -> str:
    """What learning from other clips does to the threshold; nothing where these are too few."""
    if len(rows) <= bank.config.minimum_clips:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the method of the threshold; the detector itself has given them
        times = _height(build_memory_bank(rows, bank.config)) / _height(bank)
    if abs(times - 1) < SAME_HEIGHT:
        return f" {word} it the threshold is about the same."
    return f" {word} it the threshold would lie {times:.2g} times as far above the usual scores."


def _height(bank: MemoryBank) -> float:
    """How far the threshold lies above the median score, on a scale that one odd clip does not change."""
    low, middle, high = np.quantile(bank.normal_scores, (0.2, 0.5, 0.8))
    return max(float((bank.threshold - middle) / max(high - low, 1e-9)), 1e-9)
