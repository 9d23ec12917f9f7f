"""
How long scoring and loading take at the size of DCASE 2025: the official score with 1000 bootstrap resamples of
8 machines x 200 clips on one core, and loading a tree of 18 000 clips as a dataset, the first and the second time.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from hf_asd.data.dcase.loading import load_dcase
from hf_asd.metrics.bootstrap import bootstrap_official_scores, confidence_interval
from hf_asd.metrics.official_score import score_table


MACHINES = ("AutoTrash", "BandSealer", "CoffeeGrinder", "HomeCamera", "Polisher", "ScrewFeeder", "ToyPet", "ToyRCCar")
DEVELOPMENT = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--clips-a-machine", type=int, default=1000, help="training clips, besides 200 test clips")
    args = parser.parse_args()
    print(f"cores this process may use: {len(os.sched_getaffinity(0))}, threads: {os.environ.get('OMP_NUM_THREADS')}")
    time_scoring(args.resamples)
    with tempfile.TemporaryDirectory() as folder:
        time_loading(Path(folder), args.clips_a_machine)


def time_scoring(resamples: int):
    """The score and its interval, from columns in memory."""
    random = np.random.default_rng(0)
    labels = np.tile(np.repeat([0, 1, 0, 1], 50), len(MACHINES))
    domains = np.tile(np.repeat(["source", "target"], 100), len(MACHINES))
    scores = random.normal(size=len(labels)) + labels
    columns = (labels, scores, np.repeat(MACHINES, 200), np.full(len(labels), "00"), domains)
    start = time.perf_counter()
    result = score_table(*columns)
    scored = time.perf_counter()
    low, high = confidence_interval(bootstrap_official_scores(*columns, resamples=resamples))
    end = time.perf_counter()
    print(f"official score of {len(labels)} clips: {1000 * (scored - start):.1f} ms")
    print(
        f"{resamples} bootstrap resamples: {end - scored:.2f} s ({100 * result['official_score']:.2f} %, "
        f"{100 * low:.2f} to {100 * high:.2f}); target: under 5 s on one core"
    )


def time_loading(folder: Path, clips: int):
    """Only names, sizes and times of the clips are read, and one header a machine; nothing is decoded."""
    start = time.perf_counter()
    for half, machines in (("dev_data", DEVELOPMENT), ("eval_data", MACHINES)):
        for machine in machines:
            write_machine(folder / "dcase2025" / half / machine, clips, half == "dev_data")
    written = time.perf_counter()
    dataset = load_dcase(folder / "dcase2025", 2025, cache_dir=folder / "cache")
    loaded = time.perf_counter()
    again = load_dcase(folder / "dcase2025", 2025, cache_dir=folder / "cache")
    end = time.perf_counter()
    count = sum(len(rows) for rows in dataset.values())
    assert count == sum(len(rows) for rows in again.values()) and again["train"][-1] == dataset["train"][-1]
    print(f"tree of {count} clips written in {written - start:.1f} s")
    print(f"loaded the first time: {loaded - written:.2f} s; target: under 10 s")
    print(f"loaded the second time: {end - loaded:.2f} s; target: under 1 s")


def write_machine(folder: Path, clips: int, development: bool):
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    recording = folder.parent / f".{folder.name}.wav"
    soundfile.write(recording, np.zeros(1600), 16000, subtype="PCM_16")
    lines = ["file_name,d1p,d1v,d2p,d2v"]
    domains = ["source"] * (clips - clips // 100) + ["target"] * (clips // 100)
    for number, domain in enumerate(domains):
        name = f"section_00_{domain}_train_normal_{number:04d}_car_A{number % 5}_spd_{number % 7}.wav"
        shutil.copyfile(recording, folder / "train" / name)
        lines.append(f"{folder.name}/train/{name},car,A{number % 5},spd,{number % 7}")
    for number in range(200):
        domain, condition = ("source", "target")[number // 100], ("normal", "anomaly")[number // 50 % 2]
        name = f"section_00_{domain}_test_{condition}_{number:04d}_car_A1_spd_1.wav"
        shutil.copyfile(recording, folder / "test" / (name if development else f"section_00_{number:04d}.wav"))
    (folder / "attributes_00.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
