"""
False alarms and faults found in recordings of minutes and hours, judged in windows of 10 s.

    python benchmarks/long_recordings.py WORK [--seeds 2 3] [--recordings 6] [--minutes 10]

Each of the simulated factory's machines is recorded without a break, by default six times for ten minutes: one state
of the machine and one of the hall a recording. Their windows, and 100 normal clips of 10 s, are embedded once and kept
in WORK. Then, with detectors of 30 clips drawn at random (20 draws a machine and seed), and with detectors of whole
recordings cut into windows:

- false alarms: the share of normal recordings that are an anomaly, beside what the detector promises;
- all recordings of a machine in a row (an hour) with 20 s of a severe fault of the machine in place of two windows,
  and the same with knocks, four a second, at several levels: the share found, and of these the share whose worst
  window is one of the two.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_asd.data.schema import dataset_from_rows
from hf_asd.detection.choosing import BUNDLED, choose_encoder
from hf_asd.detection.config import DetectorConfig
from hf_asd.detection.decision import make_decisions
from hf_asd.detection.long_recordings import decide_recording
from hf_asd.detection.memory_bank import MemoryBank, build_memory_bank
from hf_asd.embedding.band_statistics import STATISTICS_SIZE
from hf_asd.embedding.embed import EmbeddedRows, with_embeddings
from hf_asd.simulation.config import MACHINE_NAMES
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS, SNR = 16_000, 10, (0.0, 9.0)
CLIPS, REFERENCES, DRAWS = 100, 30, 20
KNOCK_DB = (0, 6, 12)  # peak of a knock above that of the machine
ENCODERS = {"spectral statistics": slice(0, STATISTICS_SIZE), "bundled encoder with spectral statistics": slice(None)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for the embeddings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--recordings", type=int, default=6)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--machines", nargs="+", default=list(MACHINE_NAMES))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    made = [embedded(args, machine, seed) for seed in args.seeds for machine in args.machines]
    for name, columns in ENCODERS.items():
        sounds = [{kind: vectors[..., columns] for kind, vectors in one.items()} for one in made]
        print(f"\n{name}")
        measure_clips(sounds)
        measure_pieces(sounds, 1)
        measure_pieces(sounds, args.recordings - 1)


def embedded(args: argparse.Namespace, machine: str, seed: int) -> dict[str, np.ndarray]:
    """Embeddings of clips, of the windows of recordings, and of windows with a fault or knocks."""
    file = args.work / f"{machine}-{seed}-{args.recordings}x{args.minutes}.npz"
    if not file.is_file():
        encoder = choose_encoder(BUNDLED, DetectorConfig())[0]

        def vectors(sounds):
            return np.concatenate([encoder([sound]) for sound in tqdm(sounds, leave=False)])

        def record(split, condition, number, seconds=SECONDS, fault=None):
            planned = draw_clip(seed, machine, split, "source", condition, number)
            planned = planned if fault is None else replace(planned, fault=fault, severity=1.0)
            return record_clip(planned, seed, float(seconds), SNR)

        recordings = [windows_of(record("test", "normal", n, 60 * args.minutes)) for n in range(args.recordings)]
        faults = [record("test", "anomaly", n, fault=fault) for n, fault in enumerate(MACHINES[machine].faults)]
        rng = np.random.default_rng(seed)
        np.savez(
            file,
            clips=vectors(record("train", "normal", n) for n in range(CLIPS)),
            recordings=np.stack([vectors(recording) for recording in recordings]),
            faults=vectors(faults),
            knocks=np.stack([vectors(knocks(rng, w, db) for w in recordings[0][:4]) for db in KNOCK_DB]),
        )
    with np.load(file) as kept:
        return dict(kept)


def windows_of(samples: np.ndarray) -> list[np.ndarray]:
    return np.split(samples, len(samples) // (SECONDS * RATE))


def knocks(rng: np.random.Generator, window: np.ndarray, decibels: float) -> np.ndarray:
    """Four knocks a second, each a burst of noise that decays within 25 ms."""
    window, length = window.copy(), RATE // 20
    peak = np.abs(window).max() * 10 ** (decibels / 20)
    for first in range(0, len(window) - length, RATE // 4):
        burst = rng.standard_normal(length) * np.exp(-np.arange(length) / (RATE * 0.008))
        window[first : first + length] += (peak * burst / np.abs(burst).max()).astype(np.float32)
    return window


def bank_of(vectors: np.ndarray, recordings: list[str]) -> MemoryBank:
    names = [f"{number}" for number in range(len(vectors))]
    rows = dataset_from_rows([{"path": n, "machine": "m", "clip_id": n, "split": "train"} for n in names])
    rows = with_embeddings(rows, EmbeddedRows(vectors, np.arange(len(vectors)), [None] * len(vectors), []))
    is_beside = vectors.shape[1] > STATISTICS_SIZE
    config = DetectorConfig(with_statistics=True) if is_beside else DetectorConfig(statistics="band_statistics")
    return build_memory_bank(rows.add_column("recording_id", recordings), config)


def decide(bank: MemoryBank, vectors: np.ndarray):
    """The decision about a recording of these windows, the place of the worst one, and the share of anomalous ones."""
    spans = [(float(SECONDS * n), float(SECONDS * (n + 1))) for n in range(len(vectors))]
    decisions = make_decisions("m", bank, torch.from_numpy(vectors), [None] * len(vectors))
    decision, worst = decide_recording(bank, decisions, spans)
    return decision, worst, np.mean([one.is_anomaly for one in decisions])


class Shares:
    """Shares of trials in which something occurred, by name."""

    def __init__(self):
        self.found: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self.found.setdefault(name, []).append(float(value))

    def show(self, title: str) -> None:
        print(f"\n{title}")
        for name, values in self.found.items():
            print(f"| {name} | {100 * np.mean(values):.1f} % | {len(values)} |", flush=True)


def measure_clips(sounds: list[dict]) -> None:
    """Detectors of 30 clips."""
    shares = Shares()
    for number, sound in enumerate(sounds):
        rng = np.random.default_rng(number)
        hour = np.concatenate(list(sound["recordings"]))
        for _ in range(DRAWS):
            chosen = rng.permutation(CLIPS)[:REFERENCES]
            bank = bank_of(sound["clips"][chosen], [str(n) for n in chosen])
            shares.add("promised", bank.false_alarm_rate)
            measure_false_alarms(shares, bank, [*sound["recordings"], hour])
            measure_faults(shares, bank, rng, hour, sound)
    shares.show(f"detectors of {REFERENCES} clips")


def measure_pieces(sounds: list[dict], count: int) -> None:
    """Detectors of some of the recordings, cut into windows; the others are new."""
    shares = Shares()
    for sound in sounds:
        recordings = sound["recordings"]
        for first in range(len(recordings)):
            order = np.roll(np.arange(len(recordings)), -first)
            vectors = np.concatenate(list(recordings[order[:count]]))
            bank = bank_of(vectors, [str(n) for n in order[:count] for _ in recordings[n]])
            shares.add("promised", bank.false_alarm_rate)
            measure_false_alarms(shares, bank, list(recordings[order[count:]]))
            if count > 1:
                naive = bank_of(vectors, [str(n) for n in range(len(vectors))])
                shares.add("windows, if each piece counted as a recording", decide(naive, recordings[order[-1]])[2])
    shares.show(f"detectors of {count} recording(s) cut into windows")


def measure_false_alarms(shares: Shares, bank: MemoryBank, recordings: list[np.ndarray]) -> None:
    for recording in recordings:
        decision, _, share = decide(bank, recording)
        shares.add("false alarms, windows of 10 s", share)
        shares.add(f"false alarms, recordings of {len(recording) * SECONDS // 60} minutes", decision.is_anomaly)


def measure_faults(shares: Shares, bank: MemoryBank, rng: np.random.Generator, hour: np.ndarray, sound: dict) -> None:
    kinds = {f"knocks, {db} dB": windows for db, windows in zip(KNOCK_DB, sound["knocks"], strict=True)}
    for name, windows in {"severe faults": sound["faults"], **kinds}.items():
        first = int(rng.integers(len(hour) - 2))
        with_fault = hour.copy()
        with_fault[first : first + 2] = windows[rng.integers(len(windows))]
        decision, worst, _ = decide(bank, with_fault)
        shares.add(f"20 s of {name} found in all recordings in a row", decision.is_anomaly)
        if decision.is_anomaly:
            shares.add(f"of these the named time is right: {name}", worst in (first, first + 1))
        alone = bank.score(torch.from_numpy(with_fault[first : first + 1]))
        shares.add(f"10 s of {name} alone found", alone["is_anomaly"][0])


if __name__ == "__main__":
    main()
