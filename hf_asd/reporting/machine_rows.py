"""The rows of one machine in a report."""

from dataclasses import dataclass, field

from ..detection.explanation.band_deviations import BandDeviations
from ..detection.explanation.normal_profile import NormalProfile
from ..detection.probing.probe import MachineProbe


@dataclass(frozen=True)
class MachineRows:
    """
    The content of a report that belongs to one machine; see [`~hf_asd.reporting.report.ReportContent`].

    Args:
        name (`str`): the machine.
        train, test (`list[dict]`): plain rows; those of `test` are sorted by score, the highest first.
        threshold, leave_one_out, profile, deviations, clusters, probe: as for the report, of this machine.
    """

    name: str
    train: list[dict]
    test: list[dict]
    threshold: float | None = None
    leave_one_out: dict[str, float] = field(default_factory=dict)
    profile: NormalProfile | None = None
    deviations: BandDeviations | None = None
    clusters: dict | None = None
    probe: MachineProbe | None = None
