"""Writes a report: one HTML file with everything in it, which can be read, printed and sent by e-mail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
from datasets import Dataset

from ..audio.channels import Channel
from ..audio.reading import read_audio
from ..audio.windows import read_span
from ..data.dcase.years import year_rules
from ..detection.detector import AnomalyDetector
from ..detection.drift.recordings import common_cause
from ..detection.probing.probe import MachineProbe
from ..files import write_text
from ..threads import map_on_cores
from . import sound_plots
from .clip_cards import ClipReader
from .machine_rows import MachineRows
from .machine_section import COUNTS, machine_section


TERM_TITLES = {
    "auc": "AUC",
    "auc_source": "AUC source",
    "auc_target": "AUC target",
    "pauc": "pAUC",
    "pauc_source": "pAUC source",
    "pauc_target": "pAUC target",
    "official_score": "Official score",
}
MINIMUM_CLIPS = 2  # shown of each machine


@dataclass
class ReportContent:
    """
    What a report shows. Each section of the report depends on what is given and is left out without it.

    Args:
        title (`str`): title of the report.
        train (`datasets.Dataset`, *optional*): normal training clips of the schema. The columns `embedding` and
            `pseudo_attribute` are used where they exist.
        test (`datasets.Dataset`, *optional*): scored clips of the schema with the columns of
            [`~hf_asd.AnomalyDetector.score`] and, for the maps, `embedding`.
        evaluation (`dict`, *optional*): the result of [`~hf_asd.evaluation.scores.evaluate_scores`].
        skipped (`list[str]`, *optional*): one message for every recording that could not be used.
        detector ([`~hf_asd.AnomalyDetector`], *optional*): made the decisions, or learned the normal clips: gives
            score maps, reasons, thresholds, and the scores of the normal clips.
        facts (`dict[str, str]`, *optional*): how the detector was made, shown as lines of name and value.
        baselines (`dict[str, dict]`, *optional*): name -> evaluation of another system on the same clips.
        clusters (`dict[str, dict]`, *optional*): the result of [`~hf_asd.reporting.clusters.cluster_report`].
        probes (`dict[str, MachineProbe]`, *optional*): machine -> which synthetic faults would be heard.
        read_clip (`Callable[[dict], np.ndarray]`, *optional*): from a row to its samples of shape `(samples,)`,
            float32, 16 kHz; defaults to [`read_from_disk`], with the detector's channel.
        max_clips (`int`, *optional*, defaults to 30): how many clips of all machines together are shown with
            spectrogram and sound, the most anomalous ones of each machine; of normal ones no more than eight a
            machine. Each makes the file about 0.1 MB larger.
    """

    title: str
    train: Dataset | None = None
    test: Dataset | None = None
    evaluation: dict | None = None
    skipped: Sequence[str] = ()
    detector: AnomalyDetector | None = None
    facts: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, dict] = field(default_factory=dict)
    clusters: dict[str, dict] = field(default_factory=dict)
    probes: Mapping[str, MachineProbe] = field(default_factory=dict)
    read_clip: Callable[[dict], np.ndarray] | None = None
    max_clips: int = 30

    def machine_rows(self) -> list[MachineRows]:
        """The content split by machine, in alphabetical order."""
        train, test = _rows_by_machine(self.train), _rows_by_machine(self.test)
        return [
            MachineRows(
                name=name,
                train=train.get(name, []),
                test=sorted(test.get(name, []), key=_order),
                detector=self.detector,
                clusters=self.clusters.get(name),
                probe=self.probes.get(name),
            )
            for name in sorted(set(train) | set(test))
        ]


def write_report(path: str | Path, content: ReportContent) -> Path:
    """
    Writes the report of a detector: its decisions about new recordings or, without new recordings, what the normal
    recordings look like.

    Args:
        path (`str` or `Path`): the HTML file.
        content ([`ReportContent`]): what the report shows.

    Returns:
        `Path`: the file.

    Raises:
        ValueError: neither `train` nor `test` is given.
        BadAudioError: a recording that is shown does not exist or cannot be read.
    """
    if content.train is None and content.test is None:
        raise ValueError("a report needs train (normal clips), test (scored clips) or both.")
    channel = 0 if content.detector is None else content.detector.config.channel
    read_clip = content.read_clip or partial(read_from_disk, channel=channel)
    rows = content.machine_rows()
    num_cards = max(content.max_clips // len(rows), MINIMUM_CLIPS)
    # One reader per machine: nothing of machines that are finished stays in memory. Figures are drawn by one thread at
    # a time; meanwhile another one reads clips and compresses sound.
    machines = map_on_cores(lambda machine: machine_section(machine, ClipReader(read_clip), num_cards), rows)
    machines.sort(key=lambda machine: machine["urgency"], reverse=True)
    for number, machine in enumerate(machines, start=1):
        machine["anchor"] = f"machine-{number}"
    return write_text(path, _render(content, machines))


def read_from_disk(row: dict, channel: Channel = 0) -> np.ndarray:
    """
    Reads the clip that a row is about: of a long recording the worst window, or the one that it was cut into.

    Args:
        row (`dict`): a row of the schema.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `np.ndarray` of shape `(samples,)`, float32, 16 kHz.
    """
    for start, end in (("start_s", "end_s"), ("worst_window_start_s", "worst_window_end_s")):
        if row.get(start) is not None:
            return read_span(row["audio"], (row[start], row[end]), channel).samples
    # A new recording may be silent: the report shows it without a decision.
    return read_audio(row["audio"], channel=channel, allow_silence=True)


def _order(row: dict) -> tuple[int, float]:
    """Anomalies first, then what is unusual, without a decision, and normal; in each the highest score first."""
    kind = 0 if row["is_anomaly"] else 1 if row["is_unusual"] else 2 if row["is_anomaly"] is None else 3
    return kind, -row["anomaly_score"]


def _render(content: ReportContent, machines: list[dict]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report_template.html").render(
        title=content.title,
        machines=machines,
        common_cause=_common_cause(machines),
        total={key: sum(machine[key] for machine in machines) for key in ("train", *COUNTS)},
        date=date.today().isoformat(),
        scores=None if content.evaluation is None else _score_table(content.evaluation, content.baselines),
        skipped=content.skipped,
        facts=content.facts,
        color_bar=sound_plots.color_bar(),
        listen_seconds=sound_plots.LISTEN_SECONDS,
    )


def _common_cause(machines: list[dict]) -> str | None:
    """What is said first where several machines changed at once."""
    timelines = [machine["timeline"] for machine in machines if machine["timeline"] is not None]
    return common_cause([timeline.drift for timeline in timelines if timeline.drift is not None])


def _rows_by_machine(dataset: Dataset | None) -> dict[str, list[dict]]:
    """Plain rows by machine, with the embedding as an array."""
    if dataset is None:
        return {}
    embeddings = [None] * len(dataset)
    if "embedding" in dataset.column_names:
        embeddings = dataset.with_format("numpy")["embedding"][:]
        dataset = dataset.remove_columns("embedding")
    rows = {}
    for row, embedding in zip(dataset.to_list(), embeddings, strict=True):
        rows.setdefault(row["machine"], []).append(row | {"embedding": embedding})
    return rows


def _score_table(evaluation: dict, baselines: dict[str, dict]) -> dict:
    """The table of official scores: one row per machine with the terms of the year and the scores of the baselines."""
    rules = year_rules(evaluation["year"])
    terms = [*rules.terms, "official_score"]
    return {
        "year": evaluation["year"],
        "mean": rules.mean,
        "interval": evaluation.get("confidence_interval"),
        "confidence": evaluation.get("confidence"),
        "columns": [TERM_TITLES[term] for term in terms]
        + [f"{TERM_TITLES['official_score']}: {name}" for name in baselines],
        "rows": [
            {
                "name": machine,
                "values": [means[term] for term in terms]
                + [system["machines"][machine]["official_score"] for system in baselines.values()],
            }
            for machine, means in evaluation["machines"].items()
        ],
        "total": [evaluation[term] for term in terms] + [system["official_score"] for system in baselines.values()],
    }
