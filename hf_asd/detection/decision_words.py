"""A decision in words, for tables, figures and pages."""

from collections.abc import Mapping
from typing import Any

from ..audio.clock import span_text


NORMAL, UNUSUAL, ANOMALY, NO_DECISION = "normal", "unusual, not enough for an alarm", "anomaly", "no decision"


def decision_word(row: Mapping[str, Any]) -> str:
    """
    The decision in a few words.

    Args:
        row (`Mapping`): the fields of a [`~hf_asd.detection.decision.Decision`], of which `is_anomaly` and
            `is_unusual` are read.
    """
    if row["is_anomaly"] is None:
        return NO_DECISION
    if row["is_anomaly"]:
        return ANOMALY
    return UNUSUAL if row["is_unusual"] else NORMAL


def verdict(row: Mapping[str, Any]) -> str:
    """
    The decision in a sentence, with what it follows from.

    Args:
        row (`Mapping`): the fields of a [`~hf_asd.detection.decision.Decision`].
    """
    word = decision_word(row).capitalize()
    if row["is_anomaly"] is None:
        return f"{word}: {row['abstain_reason']}"
    scores = f"score {row['anomaly_score']:.3g}, threshold {row['threshold']:.3g}"
    if not row["is_anomaly"]:
        return f"{word}: {scores}; {as_high(row)}"
    if row["worst_window_start_s"] is None:
        return f"{word}: {scores}"
    return f"{word} at {span_text((row['worst_window_start_s'], row['worst_window_end_s']))}: {scores}"


def as_high(row: Mapping[str, Any]) -> str:
    """How many normal recordings score as high as a recording without an alarm."""
    count, whole = row["num_normal_as_high"], row["num_normal_clips"]
    what = "recordings" if row["worst_window_start_s"] is None else "windows"
    return f"{count or 'none'} of {whole} normal {what} {'scores' if count == 1 else 'score'} as high"


def reason_texts(row: Mapping[str, Any]) -> list[str]:
    """
    The reasons of a decision, a line each; where they name seconds of a window, they say so.

    Args:
        row (`Mapping`): the fields of a [`~hf_asd.detection.decision.Decision`] with reasons, as plain values.
    """
    in_window = "" if row.get("worst_window_start_s") is None else " (seconds of this window)"
    return [reason["text"] + (in_window if reason["start_s"] is not None else "") for reason in row["reasons"]]
