"""What a probe found, beside a detector on disk."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...files import read_json, write_json
from ...hub.manifest import PROBE_FILE
from .probe import FaultFound, MachineProbe
from .words import probe_basis, probe_sentences


def probe_record(probes: Mapping[str, MachineProbe]) -> dict[str, dict]:
    """By machine the fields of its probe, and what they say in words."""
    return {
        machine: found.to_dict() | {"sentences": probe_sentences(found), "basis": probe_basis(found)}
        for machine, found in probes.items()
    }


def write_probe(folder: str | Path, probes: Mapping[str, MachineProbe]) -> None:
    """Writes `probe.json` into a detector's folder."""
    write_json(Path(folder) / PROBE_FILE, probe_record(probes))


def read_probe(folder: str | Path) -> dict[str, MachineProbe]:
    """What `probe.json` in a detector's folder says; empty where there is none."""
    file = Path(folder) / PROBE_FILE
    if not file.is_file():
        return {}
    names = [field.name for field in fields(MachineProbe)]
    try:
        probes = {}
        for machine, saved in read_json(file).items():
            values: dict[str, Any] = {name: saved[name] for name in names}
            values["faults"] = [FaultFound(**one) for one in saved["faults"]]
            probes[machine] = MachineProbe(**values)
        return probes
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: is not what a probe writes ({error!r}). Probe the detector again.") from error
