"""Many machines in one run: which of them to look at first, and how many false discoveries that list may hold."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..decision_rows import FILE
from ..long_recordings import recording_p_value


if TYPE_CHECKING:
    from ..memory_bank import MemoryBank


@dataclass(frozen=True)
class MachineSummary:
    """
    What a run says about one machine.

    Args:
        machine (`str`): its name.
        severity (`int`): the highest of its recordings, 0 to 1000.
        num_anomalies, num_undecided, num_recordings (`int`): of the run.
        since (`str`, *optional*): when its latest event began, UTC.
        worst_file (`str`): the recording that deviates most.
        p_value (`float`): of all its recordings together (R. J. Simes 1986); 1 where none was decided.
        adjusted_p_value (`float`, *optional*): the rate of false discoveries at which it is among them.
        is_discovery (`bool`, *optional*): whether that is within the accepted rate; `None` where none was given.
    """

    machine: str
    severity: int
    num_anomalies: int
    num_undecided: int
    num_recordings: int
    since: str | None
    worst_file: str
    p_value: float
    adjusted_p_value: float | None = None
    is_discovery: bool | None = None


def machine_summaries(rows: Sequence[dict], banks: "Mapping[str, MemoryBank]") -> list[MachineSummary]:
    """
    The machines of a run, the most urgent first.

    Args:
        rows (`Sequence[dict]`): of [`~hf_asd.detection.events.recordings.add_events`].
        banks (`Mapping[str, MemoryBank]`): by machine.
    """
    by_machine: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        by_machine[row["machine"]].append(row)
    summaries = []
    for machine, own in by_machine.items():
        decided = [row for row in own if row["is_anomaly"] is not None]
        worst = max(decided or own, key=lambda row: row["anomaly_score"])
        events = [row for row in own if row["since"] is not None]
        summaries.append(
            MachineSummary(
                machine=machine,
                severity=max(row["severity"] for row in own),
                num_anomalies=sum(row["is_anomaly"] is True for row in own),
                num_undecided=len(own) - len(decided),
                num_recordings=len(own),
                since=max(events, key=lambda row: row["time"])["since"] if events else None,
                worst_file=worst[FILE],
                p_value=recording_p_value(_p_values(decided, banks[machine])) if decided else 1.0,
            )
        )
    return sorted(summaries, key=lambda one: (-one.severity, one.p_value, one.machine))


def _p_values(rows: Sequence[dict], bank: "MemoryBank") -> np.ndarray:
    """
    Of recordings; by the tail of the normal scores where the threshold follows from it too, else the conformal ones.
    """
    if bank.config.threshold_method == "tail":
        return bank.tail.p_values(np.array([row["anomaly_score"] for row in rows]))
    return np.array([row["p_value"] for row in rows])


def control_false_discoveries(
    summaries: Sequence[MachineSummary], banks: "Mapping[str, MemoryBank]", rate: float
) -> list[MachineSummary]:
    """
    Which machines are discoveries, so that on average at most a share `rate` of them are false ones.

    The procedure of Y. Benjamini and Y. Hochberg (1995), which holds for the p-values of machines that are independent
    of each other, as each has normal recordings of its own, and for conformal ones that share normal recordings
    (S. Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv 2104.08279).

    Args:
        summaries (`Sequence[MachineSummary]`): of [`machine_summaries`].
        banks (`Mapping[str, MemoryBank]`): by machine.
        rate (`float`): accepted share of false ones among the discoveries.

    Returns:
        `list[MachineSummary]`: with `adjusted_p_value` and `is_discovery`, discoveries first.

    Raises:
        ValueError: no machine could pass, even if all of them were faulty.
    """
    smallest = {one.machine: smallest_p_value(banks[one.machine]) for one in summaries}
    if smallest and all(p_value > rate for p_value in smallest.values()):
        fewest = max(banks[machine].num_recordings for machine in smallest)
        raise ValueError(
            f"--fdr is {rate:g}, and no machine could pass: with {fewest} normal recordings no p-value is smaller "
            f"than {min(smallest.values()):.3g} (1 of {fewest + 1}). That needs {round(1 / rate - 1)} normal "
            "recordings a machine or more, or a detector with threshold_method tail."
        )
    from scipy.stats import false_discovery_control

    adjusted = np.atleast_1d(false_discovery_control([one.p_value for one in summaries])).tolist() if summaries else []
    found = [
        replace(one, adjusted_p_value=value, is_discovery=bool(value <= rate))
        for one, value in zip(summaries, adjusted, strict=True)
    ]
    return sorted(found, key=lambda one: not one.is_discovery)


def smallest_p_value(bank: "MemoryBank") -> float:
    """How small a p-value of this machine can be: one of its normal recordings and the new one; with the tail, 0."""
    return 0.0 if bank.config.threshold_method == "tail" else 1 / (bank.num_recordings + 1)


def explain_false_discoveries(
    summaries: Sequence[MachineSummary], banks: "Mapping[str, MemoryBank]", rate: float
) -> str:
    """What the rate means for these machines, and which of them cannot be found alone."""
    count = len(summaries)
    found = sum(one.is_discovery is True for one in summaries)
    text = (
        f"{found} of {count} machine{'s' * (count != 1)} found at a false-discovery rate of {100 * rate:.3g} %"
        " (Benjamini-Hochberg)"
    )
    alone = rate / max(count, 1)
    limited = [one for one in summaries if smallest_p_value(banks[one.machine]) > alone]
    if limited:
        most = max(smallest_p_value(banks[one.machine]) for one in limited)
        text += (
            f"; {len(limited)} of them cannot be found alone: their p-values go down to {most:.3g}, and one machine "
            f"of {count} alone needs {alone:.2g}, with conformal p-values {round(1 / alone - 1)} normal recordings"
        )
    fewest = min((banks[one.machine].num_recordings for one in summaries), default=0)
    if not limited and any(1 / (banks[one.machine].num_recordings + 1) > alone for one in summaries):
        text += (
            f"; p-values below {1 / (fewest + 1):.2g} (1 of {fewest + 1}) assume an exponential tail of the normal "
            "scores"
        )
    return text
