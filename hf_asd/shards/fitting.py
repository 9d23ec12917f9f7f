"""A detector for each of very many machines."""

import csv
import io
import re
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm

from ..audio.reading import OnBadAudio
from ..data.checking import all_bad_audio
from ..detection.config import WindowSeconds
from ..detection.detector import AnomalyDetector
from ..detection.learning import Hearing, fit_in_batches
from ..detection.persistence import detector_folder, write_detector
from ..distributed import alone, broadcast, gather_lists, hardware, partial_state
from ..files import read_json, whole_folder, write_json, write_text
from ..folders import is_filled
from ..hub.manifest import DETECTOR_FOLDER
from ..hub.model_card import record_compute, render_model_card
from .embedding import ENCODER
from .reading import Part, column_names
from .results import identity, own_share, read_record


MADE_FROM = "made_from.json"  # beside a detector: what it was fitted to, and its line in the table of all machines
MACHINES_TABLE = "machines.csv"
ENCODERS = ".encoder"  # its files are linked into each detector
MOST_SKIPPED = 5
UNSAFE = re.compile(r"^\.|[/\\:%\x00-\x1f]")


def fit_machines(
    parts: list[Part],
    first: AnomalyDetector,
    output: Path,
    *,
    on_bad_audio: OnBadAudio = "error",
    window_seconds: WindowSeconds = "auto",
    all_of: str | None = None,
) -> list[dict]:
    """
    Fits a detector to each machine. Under `torchrun` or `accelerate launch` each process does whole machines, so that
    the largest thing in memory is what is kept of the recordings of one machine.

    Args:
        parts (`list[Part]`): of [`~hf_asd.shards.reading.find_parts`], by machine; of the main process. Where shards
            have `embedding`, it is learned from; else the recordings are heard.
        first ([`AnomalyDetector`]): an empty one with the encoder and the options of all.
        output (`Path`): a folder for each machine is made there, and `machines.csv`. Finished ones are kept.
        on_bad_audio, window_seconds: as for [`~hf_asd.AnomalyDetector.fit_recordings`].
        all_of (`str`, *optional*): the machine of all recordings.

    Returns:
        `list[dict]`: the lines of `machines.csv`.

    Raises:
        ValueError: no detector can be fitted to some machines; says which and why. Those of the others are finished.
    """
    machines = {name: list(own) for name, own in groupby(broadcast(parts), key=lambda part: part.machine or "")}
    task = {"task": "fit", "encoder": first.encoder.fingerprint, "config": vars(first.config)}
    task |= {"windows": window_seconds, "skip": on_bad_audio == "skip", "machine": all_of}
    names = {name: identity(task, own) for name, own in machines.items()}
    encoder_folder = _saved_encoder(first, output)
    todo = broadcast([name for name in machines if _record(output, name).get("made_from") != names[name]])
    own = own_share([sum(part.num_rows for part in machines[name]) for name in todo])
    failed: list[tuple[str, str]] = []
    is_hidden = not partial_state().is_local_main_process
    with alone(), tqdm(total=len(own), desc="fitting", unit="machine", disable=is_hidden) as progress:
        for number in own:
            name, started = todo[number], time.monotonic()
            detector = AnomalyDetector(first.encoder, first.config)
            detector.base_model = first.base_model
            try:
                skipped = _fit(detector, machines[name], on_bad_audio, window_seconds, all_of)
            except ValueError as error:  # too few recordings of one of a thousand machines, or an unusable one
                failed.append((name, str(error)))
            else:
                folder = machine_folder(output, name)
                with detector_folder(folder) as partial:
                    write_detector(detector, partial, encoder_folder)
                    seconds = round(time.monotonic() - started, 1)
                    record_compute(partial, {"fit": {"seconds": seconds, "device": hardware(), "resumed": False}})
                    render_model_card(partial, folder)
                line = _line(detector, name, folder, skipped)
                write_json(folder / MADE_FROM, {"made_from": names[name], "line": line})
            progress.update()
    failed = gather_lists(failed)
    lines = [_record(output, name).get("line") for name in machines]
    lines = [line for line in lines if line is not None]
    if partial_state().is_main_process and lines:
        _write_lines(lines, output / MACHINES_TABLE)
    if failed:
        listed = "\n  ".join(text if text.startswith(f"{name}:") else f"{name}: {text}" for name, text in failed)
        raise ValueError(
            f"{len(failed)} of {len(machines)} machines have no detector; those of the others are in {output}:\n  "
            f"{listed}"
        )
    return lines


def machine_folder(output: Path, machine: str) -> Path:
    """Where the detector of a machine is."""
    return output / UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", machine)


def _record(output: Path, machine: str) -> dict:
    """What is known about the finished detector of a machine; empty where there is none."""
    folder = machine_folder(output, machine)
    is_finished = is_filled(folder, DETECTOR_FOLDER) and (folder / MADE_FROM).is_file()
    return read_json(folder / MADE_FROM) if is_finished else {}


def _fit(
    detector: AnomalyDetector,
    parts: list[Part],
    on_bad_audio: OnBadAudio,
    window_seconds: WindowSeconds,
    all_of: str | None,
) -> list[str]:
    """Fits to the recordings or the embeddings of one machine; returns messages about what was left out."""
    batches: Iterator[Dataset] = (batch for part in parts for batch in part.batches(all_of=all_of, to_fit=True))
    if all("embedding" in column_names(part) for part in parts):
        check_encoder(parts, detector)
        rows = [batch.remove_columns("audio") if "audio" in batch.column_names else batch for batch in batches]
        detector.fit_recordings(concatenate_datasets(rows), with_reasons=False)
        return []
    hearing = Hearing(window_seconds=window_seconds, on_bad_audio="skip")
    skipped = fit_in_batches(detector, batches, hearing)
    if skipped and on_bad_audio == "error":
        raise all_bad_audio(skipped, sum(part.num_rows for part in parts))
    return skipped


def check_encoder(parts: list[Part], detector: AnomalyDetector) -> None:
    """
    Raises:
        ValueError: the embeddings of shards are known to be of another encoder than that of the detector.
    """
    for part in parts:
        made_by = read_record(part.shard.path).facts.get(ENCODER)
        if made_by is not None and made_by != detector.encoder.fingerprint:
            raise ValueError(
                f"{part.shard.path}: holds embeddings of another encoder than that of the detector "
                f"({detector.embedding_description}). Give the encoder and the options that they were made with."
            )


def _write_lines(lines: list[dict], file: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    write_text(file, text.getvalue())


def _saved_encoder(first: AnomalyDetector, output: Path) -> Path | None:
    """The encoder of all detectors, saved once; `None` where there are no weights."""
    save_encoder = getattr(first.encoder, "save_pretrained", None)
    if save_encoder is None:
        return None
    folder = output / ENCODERS / first.encoder.fingerprint[:16]
    if partial_state().is_main_process and not folder.is_dir():
        with whole_folder(folder) as partial:
            save_encoder(partial)
    partial_state().wait_for_everyone()
    return folder


def _line(detector: AnomalyDetector, machine: str, folder: Path, skipped: list[str]) -> dict:
    """The line of a machine in the table of all."""
    (bank,) = detector.machines.values()
    return {
        "machine": machine,
        "detector": folder.name,
        "normal_recordings": bank.num_recordings,
        "threshold": bank.threshold,
        "false_alarm_rate": bank.false_alarm_rate,
        "left_out": len(skipped),
        "findings": " ".join([*detector.findings[machine].lines(), *skipped[:MOST_SKIPPED]]),
    }
