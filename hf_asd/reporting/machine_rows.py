"""The rows of one machine in a report."""

from dataclasses import dataclass

from ..detection.detector import AnomalyDetector
from ..detection.memory_bank import MemoryBank
from ..detection.probing.probe import MachineProbe


@dataclass(frozen=True)
class MachineRows:
    """
    The content of a report that belongs to one machine; see [`~hf_asd.reporting.report.ReportContent`].

    Args:
        name (`str`): the machine.
        train, test (`list[dict]`): plain rows; those of `test` sorted, the most urgent first.
        detector, clusters, probe: as for the report, the latter two of this machine.
    """

    name: str
    train: list[dict]
    test: list[dict]
    detector: AnomalyDetector | None = None
    clusters: dict | None = None
    probe: MachineProbe | None = None

    @property
    def bank(self) -> MemoryBank | None:
        """The machine's normal clips with their scores and threshold."""
        return None if self.detector is None else self.detector.machines.get(self.name)

    @property
    def leave_one_out(self) -> dict[str, float]:
        """By `clip_id` the score of each normal clip compared with the others."""
        return {} if self.bank is None else self.bank.leave_one_out_scores()
