"""
How long 10 000 new recordings take to be added to a detector, beyond hearing them.

    python benchmarks/adding.py [--clips 10000]

A detector (no encoder) is fitted to recordings of twelve days, and as many recordings as asked for, of twelve other
days, are added (`AnomalyDetector.add`, as `hf-asd fit --add` does), then it is saved. Recordings are 2 s of colored
noise: only their number counts here. Printed is how long the new recordings are heard, and how long learning from all
of them and saving takes after that.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from datasets import Dataset

from hf_asd import AnomalyDetector, load_folder
from hf_asd.simulation.signals import RATE


DAYS, FIRST_CLIPS, SECONDS = 12, 120, 2.0


def write_recordings(folder: Path, clips: int, month: int, rng: np.random.Generator) -> Dataset:
    """Recordings in a row, spread over the days of a month by their names."""
    folder.mkdir()
    for number in range(clips):
        day, second = 1 + number % DAYS, number // DAYS
        time_of_day = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
        noise = rng.standard_normal(round(SECONDS * RATE))
        samples = 0.02 * (noise[1:] + rng.uniform(0.5, 0.9) * noise[:-1])
        soundfile.write(folder / f"2026-{month:02d}-{day:02d}_{time_of_day}.wav", samples, RATE)
    return load_folder(folder, machine="fan")["train"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        detector = AnomalyDetector().fit(write_recordings(folder / "first", FIRST_CLIPS, 10, rng))
        new = write_recordings(folder / "new", args.clips, 11, rng)
        heard = [time.perf_counter()]
        clock = time.process_time()
        detector.add_recordings(new, visit=lambda *_: heard.append(time.perf_counter()))
        detector.save_pretrained(folder / "saved")
        end, cpu = time.perf_counter(), time.process_time() - clock
    print(f"{args.clips} recordings heard in {heard[-1] - heard[0]:.1f} s: decoded, embedded, checked, described")
    print(f"learned from with the others, and saved: {end - heard[-1]:.1f} s (target for 10 000: under 10 s)")
    print(f"processor time of all: {cpu:.1f} s")


if __name__ == "__main__":
    main()
