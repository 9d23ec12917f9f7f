"""The lines of `monitor` and of `score --json`: a decision with what a plant's system needs beside it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING
from uuid import uuid5

from ...data.recording_time import TimeSource, time_text
from .tracker import NAMESPACE


if TYPE_CHECKING:
    from ..detector import AnomalyDetector

SCHEMA_FILE = "line.schema.json"


@dataclass(frozen=True)
class DetectorName:
    """
    Which detector decided.

    Args:
        name (`str`, *optional*): its folder or its id on the Hub, as it was given; `None` for one in memory.
        version (`str`): twelve hexadecimal digits that change with everything that a decision depends on.
    """

    name: str | None
    version: str

    @classmethod
    def of(cls, detector: "AnomalyDetector", name: str | None = None) -> "DetectorName":
        """Of a fitted detector."""
        digest = hashlib.sha256(json.dumps(asdict(detector.config), sort_keys=True, default=str).encode())
        digest.update(str(getattr(detector.encoder, "fingerprint", "")).encode())
        for machine, bank in sorted(detector.machines.items()):
            digest.update(f"{machine} {bank.threshold!r}".encode())
            digest.update(bank.normal_scores.tobytes())
            for domain, embeddings in sorted(bank.embeddings.items()):
                digest.update(domain.encode() + embeddings.detach().cpu().contiguous().numpy().tobytes())
        return cls(name, digest.hexdigest()[:12])


def line_head(
    detector: DetectorName,
    source: str,
    start_s: float,
    time: datetime,
    time_from: TimeSource,
    machine: str | None,
    about: str = "",
) -> dict:
    """
    What every line begins with, also one about sound that cannot be read.

    Args:
        detector ([`DetectorName`]): the one that decides.
        source (`str`): the recording, or `"-"` for a pipe.
        start_s (`float`): where in it the line's sound begins, in seconds.
        time (`datetime`): when that was.
        time_from (`str`): where the time comes from: `--start`, the file's name, the time when it was last modified,
            or this computer's clock.
        machine (`str`, *optional*): its name, where it is known.
        about (`str`, *optional*): what tells this line from another one about the same sound.

    Returns:
        `dict`: `id` (the same whenever this sound is decided again by this detector, so that a receiver can drop
        what comes twice), `time`, `time_from`, `detector`, `detector_version`, `machine`, `source` and `start_s`.
    """
    # The clock says another time whenever the same file is decided again.
    moment = time_text(time) if time_from != "clock" or source == "-" else ""
    identity = f"{detector.version}/{machine}/{source}/{round(start_s, 3)}/{moment}{about}"
    return {
        "id": str(uuid5(NAMESPACE, identity)),
        "time": time_text(time),
        "time_from": time_from,
        "detector": detector.name,
        "detector_version": detector.version,
        "machine": machine,
        "source": source,
        "start_s": round(start_s, 3),
    }


def line_schema() -> dict:
    """The JSON schema (draft 2020-12) that every line follows."""
    return json.loads(files("hf_asd.detection.events").joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))
