"""
Whether a probe says what would be found: its shares of found synthetic faults, against those of the same faults in new
recordings.

    python benchmarks/probe.py [--seed 400] [--machines fan pump ...] [--references 30]

Each simulated machine is fitted to normal clips (spectral statistics), and probed with them: each is judged by a
memory bank without it. Then the same faults at the same strengths are put into new normal clips of the machine, and
the detector decides about these. Both shares are of few clips, so that a single one varies by chance: of 30 clips by
9 points (one standard deviation) where half are found. Printed are the mean difference over all faults and strengths
of a machine, and the mean absolute one, beside what chance alone would make of it.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers.utils.logging import disable_progress_bar

from hf_asd import AnomalyDetector, load_folder
from hf_asd.detection.probing.faults import PROBE_FAULTS
from hf_asd.detection.probing.probe import MachineProbe, probe
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS, SNR = 16_000, 10.0, (0.0, 9.0)
FRESH_NUMBER = 10_000  # faults are drawn by number: the fresh clips get others than the references


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=400)
    parser.add_argument("--machines", nargs="+", default=list(MACHINES), choices=list(MACHINES))
    parser.add_argument("--references", type=int, default=30)
    parser.add_argument("--fresh", type=int, default=40, help="new clips that the faults are put into")
    args = parser.parse_args()
    logging.getLogger("hf_asd").setLevel(logging.ERROR)
    disable_progress_bar()
    print(f"seed {args.seed}, {args.references} references, {args.fresh} fresh clips; shares in %")
    print(f"{'machine':<10}{'said':>8}{'found':>8}{'difference':>12}{'absolute':>10}{'by chance':>10}{'probe s':>9}")
    everything = []
    for machine in args.machines:
        detector, said, seconds = probed(args, machine)
        pairs = compare(args, machine, detector, said)
        everything.append(pairs)
        line(machine, pairs, args, f"{seconds:.1f}")
        for name, db, one, other in pairs:
            print(f"    {name:<26}{db:>6} dB: said {100 * one:3.0f}, found {100 * other:3.0f}")
    line("all", [pair for pairs in everything for pair in pairs], args)


def record(seed: int, machine: str, split: str, number: int) -> np.ndarray:
    return record_clip(draw_clip(seed, machine, split, "source", "normal", number), seed, SECONDS, SNR)


def probed(args: argparse.Namespace, machine: str) -> tuple[AnomalyDetector, MachineProbe, float]:
    with tempfile.TemporaryDirectory() as folder:
        recordings = Path(folder) / machine
        recordings.mkdir()
        for number in range(args.references):
            samples = record(args.seed, machine, "train", number)
            soundfile.write(recordings / f"{number:03d}.wav", samples, RATE, subtype="PCM_16")
        detector = AnomalyDetector(None)
        rows, _ = detector.fit_recordings(load_folder(recordings)["train"])
        start = time.process_time()
        said = probe(detector, rows)[machine]
        return detector, said, time.process_time() - start


def compare(args: argparse.Namespace, machine: str, detector: AnomalyDetector, said: MachineProbe) -> list[tuple]:
    """For each fault and strength that was tried, the share that the probe found, and that in new clips."""
    bank = detector.machines[machine]
    clips = [record(args.seed, machine, "test", number) for number in range(args.fresh)]
    clips = [(np.round(clip * 2**15) / 2**15).astype(np.float32) for clip in clips]  # as files are

    def share(changed: list[np.ndarray]) -> float:
        scores = bank.scorer.score(torch.from_numpy(detector.encoder(changed)))
        return float((scores > bank.threshold).double().mean())

    pairs = [("no fault", "", said.false_alarms, share(clips))]
    for fault, found in zip(PROBE_FAULTS, said.faults, strict=True):
        sounds = [fault.sound_for(clip, FRESH_NUMBER + number) for number, clip in enumerate(clips)]
        for db, one in found.found.items():
            changed = [fault.add(clip, sound, float(db)) for clip, sound in zip(clips, sounds, strict=True)]
            pairs.append((fault.name, db, one, share(changed)))
    return pairs


def line(name: str, pairs: list[tuple], args: argparse.Namespace, seconds: str = "") -> None:
    said, found = (np.array([pair[place] for pair in pairs]) for place in (2, 3))
    both = (said * args.references + found * args.fresh) / (args.references + args.fresh)
    variance = both * (1 - both) * (1 / min(args.references, 30) + 1 / args.fresh)
    by_chance = np.sqrt(2 / np.pi * variance).mean()  # of a normal distribution the mean absolute value
    values = (said.mean(), found.mean(), (said - found).mean(), np.abs(said - found).mean(), by_chance)
    cells = "".join(f"{100 * value:>{width}.1f}" for value, width in zip(values, (8, 8, 12, 10, 10), strict=True))
    print(f"{name:<10}{cells}{seconds:>9}", flush=True)


if __name__ == "__main__":
    main()
