"""Writes the simulated factory, in the layout of DCASE 2025 Task 2."""

import csv
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import soundfile
from tqdm.auto import tqdm

from ..files import read_json, remove_leftovers, whole_file, write_json, write_text
from .config import FactoryConfig
from .recording import Clip, draw_clip, record_clip
from .signals import RATE


# Increase it whenever the same config gives other recordings.
FACTORY_VERSION = 1
WAV_HEADER_BYTES = 44


def write_factory(config: FactoryConfig, path: str | Path) -> Path:
    """
    Writes the recordings of a simulated factory.

    Repeat an interrupted call with the same config to continue it; finished files are kept. Every clip depends only on
    the seed and its own name, so a smaller factory with the same seed is a part of a larger one.

    Args:
        config ([`FactoryConfig`]): what is simulated.
        path (`str` or `Path`): the folder, which gets
            - `<machine>/train/` and `<machine>/test/`: WAV files of 16 kHz, 16 bit, mono, named as in DCASE 2025, such
              as `section_00_source_train_normal_0000_unit_A_spd_900.wav` or, where attributes are hidden,
              `section_00_source_train_normal_0000_noAttribute.wav`;
            - `<machine>/attributes_00.csv`: the attributes of every file, empty where they are hidden;
            - `ground_truth/`, only for evaluation: `<machine>_attributes_00.csv` with the hidden attributes,
              `<machine>_faults_00.csv` with fault and severity of every anomalous clip;
            - `factory.json`: the config.

    Returns:
        `Path`: the folder, for [`~hf_asd.data.dcase.loading.load_dcase`].

    Raises:
        ValueError: the folder holds a factory of another config, or something else.
    """
    path = Path(path)
    _claim(config, path)
    remove_leftovers(path)
    clips = {machine: _plan(config, machine) for machine in config.machines}
    _write_tables(config, clips, path)
    size = WAV_HEADER_BYTES + 2 * round(config.clip_seconds * RATE)
    missing = []
    for machine, planned in clips.items():
        for clip in planned:
            file = path / machine / clip.split / _name(clip, machine in config.hidden)
            if not file.is_file() or file.stat().st_size != size:
                missing.append((clip, file))
    snr_db = config.snr_db if isinstance(config.snr_db, tuple) else (config.snr_db, config.snr_db)

    def write(job: tuple[Clip, Path]):
        clip, file = job
        samples = record_clip(clip, config.seed, config.clip_seconds, snr_db)
        with whole_file(file) as partial:
            soundfile.write(partial, samples, RATE, subtype="PCM_16", format="WAV")

    # Threads are enough: nearly all time is spent in numpy and scipy, which release the interpreter lock.
    pool = ThreadPoolExecutor(config.num_workers or os.cpu_count())
    try:
        for _ in tqdm(pool.map(write, missing), total=len(missing), desc="simulating the factory", unit="clip"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return path


def _claim(config: FactoryConfig, path: Path):
    """Writes `factory.json`, or checks that the folder holds the factory of the same config."""
    wanted = json.loads(json.dumps({"version": FACTORY_VERSION, **asdict(config)}))
    del wanted["num_workers"]
    file = path / "factory.json"
    if file.is_file():
        found = read_json(file)
        differing = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
        if differing:
            listed = ", ".join(f"{name} is {found.get(name)}, but {wanted.get(name)} is wanted" for name in differing)
            raise ValueError(f"{file}: is of another factory: {listed}. Give another folder, or remove this one.")
    elif path.exists() and (not path.is_dir() or any(e.suffix != ".partial" for e in path.iterdir())):
        raise ValueError(f"{path}: is not empty and holds no simulated factory. Give a new or an empty folder.")
    else:
        write_json(file, wanted)


def _plan(config: FactoryConfig, machine: str) -> list[Clip]:
    counts = {
        ("train", "source", "normal"): config.num_source_train,
        ("train", "target", "normal"): config.num_target_train,
    }
    for domain in ("source", "target"):
        for condition in ("normal", "anomaly"):
            counts["test", domain, condition] = config.num_test
    return [
        draw_clip(config.seed, machine, split, domain, condition, number)
        for (split, domain, condition), count in counts.items()
        for number in range(count)
    ]


def _name(clip: Clip, hidden: bool) -> str:
    attributes = "noAttribute" if hidden else "_".join(f"{key}_{value}" for key, value in clip.attributes.items())
    return f"section_00_{clip.domain}_{clip.split}_{clip.condition}_{clip.number:04d}_{attributes}.wav"


def _write_tables(config: FactoryConfig, clips: dict[str, list[Clip]], path: Path):
    """Writes all tables before the first recording: the loader reads from them which recordings are missing."""
    for machine, planned in clips.items():
        hidden, truth = machine in config.hidden, path / "ground_truth"
        for split in ("train", "test"):
            (path / machine / split).mkdir(parents=True, exist_ok=True)
        names = [_name(clip, hidden) for clip in planned]
        count = len(planned[0].attributes)
        header = ["file_name", *(f"d{number}{kind}" for number in range(1, count + 1) for kind in "pv")]
        pairs = [[word for pair in clip.attributes.items() for word in pair] for clip in planned]
        attributes = [[name, *words] for name, words in zip(names, pairs, strict=True)]
        blank = [[name, "noAttribute", *[""] * (2 * count - 1)] for name in names]
        _write_csv(path / machine / "attributes_00.csv", header, blank if hidden else attributes)
        if hidden:
            _write_csv(truth / f"{machine}_attributes_00.csv", header, attributes)
        faults = [
            [name, clip.fault, f"{clip.severity:.3f}"]
            for name, clip in zip(names, planned, strict=True)
            if clip.fault is not None
        ]
        _write_csv(truth / f"{machine}_faults_00.csv", ["file_name", "fault", "severity"], faults)


def _write_csv(file: Path, header: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_text(file, text.getvalue())
