"""What `fit` says about the sessions of the normal recordings: what the promise is worth, and what to record next."""

import math
import warnings

import numpy as np
from datasets import Dataset

from ...embedding.embed import get_embeddings
from ..backends.cross_scores import recording_splits
from ..memory_bank import FEW_SESSIONS, MemoryBank, build_memory_bank
from .findings import listed


MORE_DAYS = 5  # to record beside a single one
MOST_CLIPS = 300  # that are tried: more would take long and make the share only a little more exact
MOST_SPLITS = 6  # parts of the sessions that are left out, for the same reason
ODD_SHARE = 0.5  # of a session's recordings above the threshold: the session is unlike the others
NAMED = 6


def session_remarks(bank: MemoryBank, rows: Dataset, seconds: float) -> list[str]:
    """
    Sentences about the sessions of a machine; none where no session is known.

    Args:
        bank ([`MemoryBank`]): of the machine.
        rows (`datasets.Dataset`): its normal clips with embeddings.
        seconds (`float`): length of all of them together; 0 where it is not known.
    """
    if bank.sessions is None:
        return []
    names = sorted(set(bank.sessions))
    if len(names) == 1:
        return [_single(names[0], seconds)]
    numbers = bank.session_numbers
    if numbers is None:
        return [
            f"{len(names)} sessions ({_named(names)}), but too few recordings remain without one of them to compare "
            "it with the others: the false-alarm rate holds for sound like that of these sessions alone. Record as "
            f"much in each, on at least {FEW_SESSIONS} days, under every load."
        ]
    shares = np.bincount(numbers, bank.normal_scores > bank.threshold) / np.bincount(numbers)
    text = f"{len(names)} sessions ({_named(names)}). "
    text += _new_session(_false_alarms_if_unknown(bank, rows), bank.config.false_alarm_rate)
    text += (
        f"The threshold is set by leaving out one session at a time: {_percent(shares.min())} to "
        f"{_percent(shares.max())} of a session's recordings lie above it."
    )
    if len(names) < FEW_SESSIONS:
        missing = FEW_SESSIONS - len(names)
        text += (
            f" So few sessions promise it only roughly, and make the threshold high: record on {missing} more "
            f"day{'s' * (missing > 1)}, under every load."
        )
    odd = [
        f"Session {name or 'without a name'} is unlike all others: {share:.0%} of its recordings lie above the "
        "threshold that the others give. Was the microphone moved, or the load another one?"
        for name, share in zip(names, shares, strict=True)
        if share > ODD_SHARE
    ]
    return [text, *odd]


def _single(name: str, seconds: float) -> str:
    length = f" of {_duration(seconds)}" if seconds else ""
    return (
        f"One session{length} ({name}): the false-alarm rate holds for sound like that of this session alone. Another "
        f"day sounds different, and can raise several times as many false alarms. Record on at least {MORE_DAYS} more "
        "days, under every load."
    )


def _new_session(share: float | None, rate: float) -> str:
    if share is None:
        return ""
    if share <= 1.5 * rate:
        return "A new session sounds like the known ones. "
    return (
        f"A new session sounds different: a detector that did not know of sessions would call {_percent(share)} of "
        f"its normal recordings anomalous, instead of {_percent(rate)}. "
    )


def _false_alarms_if_unknown(bank: MemoryBank, rows: Dataset) -> float | None:
    """
    The share of false alarms in a session by a detector of the other sessions that takes these for one.

    Sessions count the same, however many recordings each has.
    """
    rows = rows.select(np.unique(np.linspace(0, len(rows) - 1, MOST_CLIPS).astype(int)))
    sessions = np.array([session or "" for session in rows["session"][:]])
    numbers, shares = np.unique(sessions, return_inverse=True)[1], []
    plain = rows.remove_columns("session")
    splits = recording_splits(numbers)
    for held_out, others in splits[:: math.ceil(len(splits) / MOST_SPLITS)]:
        if len(others) < bank.config.minimum_clips:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the method of the threshold; the detector itself has given them
            scored = build_memory_bank(plain.select(others.numpy()), bank.config)
        scores = scored.scorer.score(get_embeddings(plain.select(held_out.numpy())))
        alarms = scores.numpy() > scored.threshold
        shares += [alarms[numbers[held_out.numpy()] == one].mean() for one in np.unique(numbers[held_out.numpy()])]
    return float(np.mean(shares))


def _named(names: list[str]) -> str:
    known = [name or "not named" for name in names]
    return listed(known) if len(known) <= NAMED else f"{known[0]} to {known[-1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 100 else f"{seconds:.0f} seconds"
