"""Smaller memory banks: fewer references, or references in half precision, and what that costs in score."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Features, List, Value

from ..data.dcase.years import DEFAULT_YEAR
from ..embedding.embed import get_embeddings
from ..evaluation.scores import compare_scores
from ..files import write_json
from ..folders import current_folder
from ..hub.manifest import BANK_FILE, DETECTOR_FOLDER
from ..hub.model_card import record_evaluation, render_model_card
from ..hub.transfer import resolve_detector
from ..options import check_word
from .backends.cross_scores import recording_splits
from .backends.references import k_center_rows
from .config import DtypeName
from .decision import DECISION_FEATURES
from .detector import AnomalyDetector
from .memory_bank import by_domain
from .persistence import detector_folder, write_detector
from .threshold import threshold_from
from .verdicts import attach_faults, keep_verdicts


FOLDS = 5
DTYPES: dict[DtypeName, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


def compact(
    detector: AnomalyDetector, dtype: DtypeName = "float32", num_references: int | None = None
) -> AnomalyDetector:
    """
    A detector with a smaller memory bank and the same encoder.

    Thresholds and p-values are computed again. Where clips are dropped, the scores of the kept ones would mislead,
    since these lie far from all others. So every normal clip is scored by a bank of the same size that was chosen
    without it, one fifth of the clips at a time.

    Args:
        detector ([`AnomalyDetector`]): a fitted one; it stays unchanged.
        dtype (`"float32"` or `"float16"`, *optional*, defaults to `"float32"`): of the embeddings on disk. The new
            detector scores with the rounded ones, so it gives the same bits before and after saving.
        num_references (`int`, *optional*): maximum number of normal clips kept for each machine and domain, chosen by
            [`k_center_rows`]; all by default.

    Returns:
        [`AnomalyDetector`].

    Raises:
        ValueError: an unknown dtype, fewer references than a machine needs, or embeddings that float16 cannot hold.
    """
    check_word("dtype", dtype, DtypeName)
    if num_references is not None and num_references < 1:
        raise ValueError(f"num_references is {num_references}; accepted is 1 or more.")
    rows = _rows(detector, DTYPES[dtype])
    kept = _chosen(rows, num_references)
    small = _refitted(detector, rows.select(kept))
    small.training_summary, small.base_model = detector.training_summary, detector.base_model
    small.verdicts, small.precision_cosine = detector.verdicts, detector.precision_cosine
    small.bank_dtype, small.profiles = DTYPES[dtype], detector.profiles
    if len(kept) < len(rows):
        _score_all_normal_clips(detector, small, rows, kept, num_references)
    for machine, bank in small.machines.items():  # outliers that were left out count for the promise
        bank.num_dropped = detector.machines[machine].num_dropped
        bank.false_alarm_rate = max(bank.false_alarm_rate, detector.machines[machine].false_alarm_rate)
    attach_faults(small)
    return small


def _refitted(detector: AnomalyDetector, rows: Dataset) -> AnomalyDetector:
    return AnomalyDetector(detector.encoder, replace(detector.config, drop_outliers=False)).fit(rows)


def _score_all_normal_clips(
    detector: AnomalyDetector, small: AnomalyDetector, rows: Dataset, kept: np.ndarray, num_references: int | None
) -> None:
    """Gives the banks of `small` held-out scores of all normal clips, and thresholds from them."""
    scores, machines = np.empty(len(rows)), np.array(rows["machine"][:])
    order = np.concatenate([kept, np.setdiff1d(np.arange(len(rows)), kept)])
    for machine, bank in small.machines.items():
        full = detector.machines[machine]
        for held_out, others in _splits(np.flatnonzero(machines == machine), full.groups):
            chosen = others[_chosen(rows.select(others), num_references)]
            scored = _refitted(detector, rows.select(chosen)).score(rows.select(held_out))
            scores[held_out] = scored["anomaly_score"][:]
        # The kept clips come first, in the order of the bank.
        own = order[machines[order] == machine]
        recordings = sessions = None
        if full.recordings is not None:
            recordings = np.unique(np.array(rows["recording_id"][:])[own], return_inverse=True)[1]
        if full.sessions is not None:
            sessions = [session or "" for session in rows.select(own)["session"]]
        bank = replace(bank, normal_scores=scores[own], recordings=recordings, sessions=sessions)
        options = full.config.false_alarm_rate, full.config.threshold_method, bank.weights
        bank.threshold, bank.false_alarm_rate = threshold_from(bank.normal_scores, *options)
        small.machines[machine] = bank


def _splits(rows: np.ndarray, groups: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of a machine that are scored, and rows that they are compared with: none of the same group."""
    if groups is None:
        return [(rows[rows % FOLDS == fold], rows[rows % FOLDS != fold]) for fold in range(FOLDS)]
    splits = recording_splits(groups[: len(rows)])
    return [(rows[scored.numpy()], rows[others.numpy()]) for scored, others in splits]


def _rows(detector: AnomalyDetector, dtype: torch.dtype) -> Dataset:
    """The clips of all memory banks, their embeddings rounded."""
    names, embeddings = [], []
    for machine, bank in detector.machines.items():
        start = 0
        for domain, references in bank.embeddings.items():
            rounded = references.to(dtype).float()
            if not rounded.isfinite().all():
                raise ValueError(f"{machine}: has embeddings above what {dtype} can hold; keep float32.")
            clip_ids = bank.clip_ids[domain]
            pieces = by_domain(bank.embeddings, bank.recordings)
            ids = clip_ids if pieces is None else [f"{machine}/{number}" for number in pieces[domain]]
            sessions = [None] * len(clip_ids)
            if bank.sessions is not None:
                sessions = [name or None for name in bank.sessions[start : start + len(clip_ids)]]
            start += len(clip_ids)
            names += [(machine, domain, "normal", *own) for own in zip(clip_ids, ids, sessions, strict=True)]
            embeddings.append(rounded.numpy())
    embeddings = np.concatenate(embeddings)
    columns = ("machine", "domain", "condition", "clip_id", "recording_id", "session")
    features = Features({name: Value("string") for name in columns})
    columns = dict(zip(features, map(list, zip(*names, strict=True)), strict=True)) | {"embedding": embeddings}
    features["embedding"] = List(Value("float32"), length=embeddings.shape[1])
    return Dataset.from_dict(columns, features=features)


def _chosen(rows: Dataset, num_references: int | None) -> np.ndarray:
    """The numbers of the rows that are kept, in rising order: centers of the clips of each machine and domain."""
    if num_references is None:
        return np.arange(len(rows))
    vectors, groups = get_embeddings(rows), {}
    for row, group in enumerate(zip(rows["machine"][:], rows["domain"][:], strict=True)):
        groups.setdefault(group, []).append(row)
    return np.sort(
        np.concatenate([np.array(group)[k_center_rows(vectors[group], num_references)] for group in groups.values()])
    )


def compact_folder(
    folder: str | Path,
    output: str | Path,
    *,
    dtype: DtypeName = "float32",
    num_references: int | None = None,
    test: Dataset | None = None,
    year: int = DEFAULT_YEAR,
) -> dict:
    """
    [`compact`] from folder to folder, with a card that states what it costs in score.

    Args:
        folder (`str` or `Path`): of the detector.
        output (`str` or `Path`): folder for the smaller one; must be another folder.
        dtype, num_references: as for [`compact`].
        test (`datasets.Dataset`, *optional*): labeled test clips, for the loss in score; an `embedding` column of the
            same detector is used where there is one.
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.

    Returns:
        `dict`: `dtype`, and before and after `references` and `bytes` of the memory bank; with test clips also
        `official_score`, its `difference`, and the difference's `confidence_interval` (paired bootstrap) and
        `confidence`.

    Raises:
        ValueError: as for [`compact`], the folders are the same, or a test clip lacks its condition or domain.
    """
    folder, output = Path(folder), Path(output)
    if folder.resolve() == output.resolve():
        raise ValueError(f"output is {output}, the detector's own folder; give another one.")
    folder = resolve_detector(folder)
    full = AnomalyDetector.from_pretrained(folder)
    folder = current_folder(folder, DETECTOR_FOLDER)
    small = compact(full, dtype, num_references)
    with detector_folder(output) as partial:
        write_detector(small, partial)
        result = {
            "dtype": dtype,
            "references": [_references(detector) for detector in (full, small)],
            "bytes": [(path / BANK_FILE).stat().st_size for path in (folder, partial)],
        }
        for name in ("recipe.yaml", "compute.json"):
            if (folder / name).is_file():
                shutil.copy(folder / name, partial / name)
        if test is not None:
            result |= _compare(full, small, test, year, partial)
        write_json(partial / "compact.json", result)
        render_model_card(partial, output)
    keep_verdicts(small, output)
    return result


def _compare(full: AnomalyDetector, small: AnomalyDetector, test: Dataset, year: int, output: Path) -> dict:
    """What the smaller bank costs in official score; records the small detector's evaluation."""
    rows = test.remove_columns([name for name in DECISION_FEATURES if name in test.column_names])
    before, after = (detector.score(rows, check_input=False) for detector in (full, small))
    compared = compare_scores(before, after, year)
    record_evaluation(output, after, year)
    return {
        "official_score": [compared[system]["official_score"] for system in ("a", "b")],
        **{name: compared[name] for name in ("difference", "confidence_interval", "confidence")},
    }


def _references(detector: AnomalyDetector) -> int:
    return sum(len(bank) for machine in detector.machines.values() for bank in machine.embeddings.values())
