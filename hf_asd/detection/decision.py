"""The one record of a decision about a recording, and the one function that makes it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch
from datasets import Features, List, Value

from .explanation.reasons import InputFindings, Reason
from .memory_bank import MemoryBank


@dataclass(frozen=True)
class Decision:
    """
    What was decided about one recording, and why.

    Args:
        machine (`str`): the machine whose normal clips it was compared with.
        anomaly_score (`float`): higher is more anomalous; comparable within a machine.
        z_score (`float`): the score in standard deviations of normal clips; comparable between machines.
        threshold (`float`): the recording is an anomaly when its score exceeds it.
        p_value (`float`): the share of normal clips that score as high.
        is_anomaly (`bool`, *optional*): the decision; `None` where the recording is unfit for one.
        is_unusual (`bool`, *optional*): no anomaly, but above the threshold for twice the rate of false alarms, or
            above 95 % of the normal clips; `None` where there is no decision.
        num_normal_as_high (`int`): how many of the normal clips, each compared with the others, score as high.
        num_normal_clips (`int`): how many normal clips there are.
        abstain_reason (`str`, *optional*): why it is unfit; `None` for a usable recording.
        nearest_clip_id (`str`): the most similar normal clip.
        nearest_clip_ids (`list[str]`): the three most similar ones, or as many as there are.
        reasons (`list[Reason]`, *optional*): what is unusual about an anomaly or an unusual recording; empty where
            nothing is, `None` where reasons were not asked for.
        num_windows (`int`): how many windows a long recording was judged in; 1 for a whole one. The most similar clips
            and the reasons, with their times, are then those of its worst window; how its score follows from theirs:
            [`~hf_asd.detection.long_recordings.decide_recording`].
        num_unfit_windows (`int`): how many of them are unfit for a decision and took no part in it.
        unfit_windows_reason (`str`, *optional*): why the first of these is unfit, and where it is.
        worst_window_start_s, worst_window_end_s (`float`, *optional*): the most anomalous window, in seconds within
            the recording; `None` for a whole one.
        worst_window_score (`float`, *optional*): its score, not corrected for the number of windows.
        like_fault (`str`, *optional*): the confirmed fault that an anomaly or an unusual recording resembles.
    """

    machine: str
    anomaly_score: float
    z_score: float
    threshold: float
    p_value: float
    is_anomaly: bool | None
    is_unusual: bool | None
    num_normal_as_high: int
    num_normal_clips: int
    abstain_reason: str | None
    nearest_clip_id: str
    nearest_clip_ids: list[str]
    reasons: list[Reason] | None
    num_windows: int = 1
    num_unfit_windows: int = 0
    unfit_windows_reason: str | None = None
    worst_window_start_s: float | None = None
    worst_window_end_s: float | None = None
    worst_window_score: float | None = None
    like_fault: str | None = None

    def to_dict(self) -> dict:
        """Plain values, for JSON and tables; the fields in their order."""
        return asdict(self)


# Columns of a scored dataset; it has `machine` already.
DECISION_FEATURES = Features(
    {
        "anomaly_score": Value("float64"),
        "z_score": Value("float64"),
        "threshold": Value("float64"),
        "p_value": Value("float64"),
        "is_anomaly": Value("bool"),
        "is_unusual": Value("bool"),
        "num_normal_as_high": Value("int64"),
        "num_normal_clips": Value("int64"),
        "abstain_reason": Value("string"),
        "nearest_clip_id": Value("string"),
        "nearest_clip_ids": List(Value("string")),
        "reasons": List(
            {field.name: Value("string" if field.name in ("kind", "text") else "float64") for field in fields(Reason)}
        ),
        "num_windows": Value("int64"),
        "num_unfit_windows": Value("int64"),
        "unfit_windows_reason": Value("string"),
        "worst_window_start_s": Value("float64"),
        "worst_window_end_s": Value("float64"),
        "worst_window_score": Value("float64"),
        "like_fault": Value("string"),
    }
)


def make_decisions(
    machine: str, bank: MemoryBank, embeddings: torch.Tensor, findings: Sequence[InputFindings | None]
) -> list[Decision]:
    """
    Decides about recordings of one machine.

    Args:
        machine (`str`): its name.
        bank ([`MemoryBank`]): its normal clips and threshold.
        embeddings (`torch.Tensor` of shape `(clips, dimensions)`): float32.
        findings (`Sequence[InputFindings]`): for each recording whether it is fit for a decision, and the reasons if
            it is an anomaly; `None` where its samples were not looked at.

    Returns:
        `list[Decision]`.
    """
    columns = {name: values.tolist() for name, values in bank.score(embeddings).items()}
    like_faults = bank.like_faults(embeddings)
    decisions = []
    for row, found in enumerate(findings):
        scores = {name: values[row] for name, values in columns.items()}
        abstain_reason = None if found is None else found.abstain_reason
        reasons = None if found is None else found.reasons
        is_anomaly, is_unusual = scores.pop("is_anomaly"), scores.pop("is_unusual")
        if is_anomaly and abstain_reason is None and found is not None and found.doubt is not None:
            abstain_reason = found.doubt
            reasons = None if reasons is None else [Reason("unfit", found.doubt)]
        if abstain_reason is not None:
            is_anomaly = is_unusual = None
        if reasons is not None and is_anomaly is False and not is_unusual:
            reasons = []  # nothing to give reasons for
        decisions.append(
            Decision(
                machine=machine,
                threshold=bank.threshold,
                is_anomaly=is_anomaly,
                is_unusual=is_unusual,
                num_normal_clips=len(bank.normal_scores),
                abstain_reason=abstain_reason,
                reasons=reasons,
                like_fault=like_faults[row] if is_anomaly or is_unusual else None,
                **scores,
            )
        )
    return decisions
