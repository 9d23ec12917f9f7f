"""Writes a report: one HTML file with everything in it, which can be read, printed and sent by e-mail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
from datasets import Dataset

from ..audio.channels import Channel
from ..audio.reading import read_audio
from ..data.dcase.years import year_rules
from ..detection.explanation.band_deviations import BandDeviations
from ..detection.explanation.normal_profile import NormalProfile
from ..detection.probing.probe import MachineProbe
from ..files import write_text
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
MAXIMUM_SUSPECTS = 5


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
        thresholds (`dict[str, float]`, *optional*): machine -> threshold, drawn into the histograms.
        leave_one_out (`dict[str, dict[str, float]]`, *optional*): machine -> `clip_id` -> score of a normal training
            clip compared with the others; used for machines without new recordings.
        facts (`dict[str, str]`, *optional*): how the detector was made, shown as lines of name and value.
        baselines (`dict[str, dict]`, *optional*): name -> evaluation of another system on the same clips.
        clusters (`dict[str, dict]`, *optional*): the result of [`~hf_asd.reporting.clusters.cluster_report`].
        profiles (`dict[str, NormalProfile]`, *optional*): machine -> profile of its normal clips, for the reasons.
        deviations (`dict[str, BandDeviations]`, *optional*): machine -> what scores are made of, for the reasons.
        probes (`dict[str, MachineProbe]`, *optional*): machine -> which synthetic faults would be heard.
        channel (`int` or `str`, *optional*, defaults to 0): as for [`~hf_asd.audio.reading.read_audio`].
        read_clip (`Callable[[dict], np.ndarray]`, *optional*): from a row to its samples of shape `(samples,)`,
            float32, 16 kHz; defaults to reading the file in `audio` with [`~hf_asd.audio.reading.read_audio`].
    """

    title: str
    train: Dataset | None = None
    test: Dataset | None = None
    evaluation: dict | None = None
    skipped: Sequence[str] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    leave_one_out: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, dict] = field(default_factory=dict)
    clusters: dict[str, dict] = field(default_factory=dict)
    profiles: dict[str, NormalProfile] = field(default_factory=dict)
    deviations: Mapping[str, BandDeviations | None] = field(default_factory=dict)
    probes: Mapping[str, MachineProbe] = field(default_factory=dict)
    channel: Channel = 0
    read_clip: Callable[[dict], np.ndarray] | None = None

    def machine_rows(self) -> list[MachineRows]:
        """The content split by machine, in alphabetical order."""
        train, test = _rows_by_machine(self.train), _rows_by_machine(self.test)
        return [
            MachineRows(
                name=name,
                train=train.get(name, []),
                test=sorted(test.get(name, []), key=lambda row: -row["anomaly_score"]),
                threshold=self.thresholds.get(name),
                leave_one_out=self.leave_one_out.get(name, {}),
                profile=self.profiles.get(name),
                deviations=self.deviations.get(name),
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
    read_clip = content.read_clip or partial(_read_from_disk, channel=content.channel)
    rows = content.machine_rows()
    # One reader per machine: nothing of the other machines stays in memory.
    machines = [
        machine_section(machine, ClipReader(read_clip), num_machines=len(rows)) | {"anchor": f"machine-{number}"}
        for number, machine in enumerate(rows, start=1)
    ]
    return write_text(path, _render(content, machines))


def _render(content: ReportContent, machines: list[dict]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report_template.html").render(
        title=content.title,
        machines=machines,
        total={key: sum(machine[key] for machine in machines) for key in ("train", *COUNTS)},
        suspects=_suspects(machines),
        scores=None if content.evaluation is None else _score_table(content.evaluation, content.baselines),
        skipped=content.skipped,
        facts=content.facts,
        color_bar=sound_plots.color_bar(),
        listen_seconds=sound_plots.LISTEN_SECONDS,
    )


def _read_from_disk(row: dict, channel: Channel) -> np.ndarray:
    # A new recording may be silent: the report shows it without a decision.
    return read_audio(row["audio"], channel=channel, allow_silence=True)


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


def _suspects(machines: list[dict]) -> list[dict]:
    """The alarms to listen to first: those with the lowest p-values, over all machines."""
    alarms = [row | {"machine": m["name"]} for m in machines for row in m.get("listed", []) if row["alarm"]]
    return sorted(alarms, key=lambda row: (row["p_value"], -row["score"]))[:MAXIMUM_SUSPECTS]
