"""
`hf-asd drift` on simulated installations: how often it is raised without drift, and what it says when something moved.

    python benchmarks/drift.py [--first 2000] [--installations 200] [--cache FILE.npz]

An installation is one machine of the simulated factory. A detector (no encoder) is fitted to 6 sessions of 8 normal
clips of 4 s. A session has its own level (standard deviation 1 dB), its own coloration (1 dB), its own distance of the
machine from the background (1.5 dB), and clips of all operating states. Then 30 days follow, a session of 3 clips
each, drawn in the same way: nothing has drifted. After ten of these days, on branches of their own, two sessions
follow in which the microphone was moved (another place of the room, the machine 6 to 14 dB louder or quieter there: a
half to a fifth of the distance, or the reverse), two with operating states that no session had, and two in which the
machine has a fault of severity 0.5 to 1.

Installations below 1100 were used to choose how it decides, those from 1100 to 1299 to measure an earlier test.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from hf_asd.detection.config import DetectorConfig
from hf_asd.detection.drift.watch import Drift, DriftWatch
from hf_asd.detection.drift.watch import Session as DriftSession
from hf_asd.detection.memory_bank import MemoryBank, build_memory_bank
from hf_asd.embedding.statistics import SpectralStatistics
from hf_asd.simulation.acoustics import background, microphone, room
from hf_asd.simulation.fourier import irfft, rfft
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.machines.machine import Run
from hf_asd.simulation.recording import Clip, draw_clip, generator
from hf_asd.simulation.signals import RATE, amplitude, at_level, color, padded_samples


SECONDS, SNR = 4.0, (0.0, 9.0)
TRAIN_SESSIONS, TRAIN_CLIPS, DAYS, DAY_CLIPS, CHANGED_SESSIONS, CHANGED_AFTER = 6, 8, 30, 3, 2, 10
BRANCHES = ("moved", "load", "fault")


@dataclass(frozen=True)
class Session:
    """What is the same in all clips of a session."""

    name: str
    level_db: float
    snr_db: float
    nearer_db: float = 0.0  # how much louder the machine is at the microphone, beside the same background
    place: str | None = None  # of the microphone; `None`: that of the clip

    @classmethod
    def draw(cls, seed: int, name: str) -> "Session":
        rng = generator(seed, "session", name)
        return cls(name, float(rng.normal(0, 1)), float(rng.normal(0, 1.5)))

    def moved(self, seed: int) -> "Session":
        """The microphone at another place, closer or farther, with the same gain."""
        rng = generator(seed, "move")
        return replace(self, nearer_db=rng.uniform(6, 14) * rng.choice([-1, 1]), place="moved")


def power_db(*levels: float) -> float:
    """The level of sounds together."""
    return float(10 * np.log10(sum(10 ** (level / 10) for level in levels)))


def record(clip: Clip, seed: int, session: Session) -> np.ndarray:
    """As `record_clip`, on one day."""
    samples, words = padded_samples(SECONDS), (session.name, clip.machine, clip.condition, clip.number)
    rng = generator(seed, "recording", *words)
    snr = rng.uniform(*SNR) + session.snr_db
    level = -36 + rng.standard_normal() + session.level_db
    level += power_db(session.nearer_db, -snr) - power_db(0, -snr)
    snr += session.nearer_db
    run = Run(
        samples,
        clip.attributes,
        unit=generator(seed, "unit", clip.machine, clip.attributes.get("unit", "A")),
        rng=generator(seed, "healthy", *words),
        fault_rng=generator(seed, "fault", *words),
        fault=clip.fault,
        severity=clip.severity,
    )
    place = generator(seed, "place", clip.machine, session.place or clip.attributes.get("mic", "1"))
    hall, corner = generator(seed, "hall", clip.machine), generator(seed, "corner", clip.machine, "source")
    machine = MACHINES[clip.machine].sound(run)
    machine = irfft(rfft(machine) * room(place, rng, samples), samples)
    sound = at_level(machine, 0) + np.float32(amplitude(-snr)) * background(hall, corner, rng, samples)
    day = color(generator(seed, "day", session.name), samples, 1.0)
    sound = irfft(rfft(sound) * day, samples)
    return microphone(rng, sound, level)[-round(SECONDS * RATE) :]


def simulate(seed: int, statistics: SpectralStatistics) -> dict[str, np.ndarray]:
    """Embeddings of an installation, sessions by clips by dimensions."""
    machine = list(MACHINES)[seed % len(MACHINES)]
    drift = generator(seed, "drift", machine)
    fault, severity = str(drift.choice(MACHINES[machine].faults)), float(drift.uniform(0.5, 1))

    def sessions(kind: str, count: int, clips: int, domain: str = "source") -> np.ndarray:
        embeddings = []
        for number in range(count):
            session = Session.draw(seed, f"{kind} {number}")
            session = session.moved(seed) if kind == "moved" else session
            planned = [
                draw_clip(seed, machine, "train", domain, "normal", 1000 * number + 100_000 * len(kind) + clip)
                for clip in range(clips)
            ]
            if kind == "fault":
                planned = [replace(clip, condition="anomaly", fault=fault, severity=severity) for clip in planned]
            embeddings.append(statistics([record(clip, seed, session) for clip in planned]))
        return np.stack(embeddings)

    return {
        "train": sessions("train", TRAIN_SESSIONS, TRAIN_CLIPS),
        "days": sessions("days", DAYS, DAY_CLIPS),
        "moved": sessions("moved", CHANGED_SESSIONS, DAY_CLIPS),
        "load": sessions("load", CHANGED_SESSIONS, DAY_CLIPS, "target"),
        "fault": sessions("fault", CHANGED_SESSIONS, DAY_CLIPS),
    }


def simulated(first: int, count: int, cache: Path | None) -> dict[int, dict[str, np.ndarray]]:
    """Embeddings of all installations; those of `cache` are not simulated again."""
    kept = {} if cache is None or not cache.is_file() else dict(np.load(cache))
    statistics, result = SpectralStatistics(), {}
    for seed in tqdm(range(first, first + count), desc="installations"):
        if f"{seed}/train" in kept:
            result[seed] = {name: kept[f"{seed}/{name}"] for name in ("train", "days", *BRANCHES)}
        else:
            result[seed] = simulate(seed, statistics)
    if cache is not None:
        np.savez(cache, **{f"{seed}/{name}": rows for seed, one in result.items() for name, rows in one.items()})
    return result


def bank_of(train: np.ndarray) -> MemoryBank:
    """Of sessions by clips by dimensions; scores leave whole sessions out."""
    sessions, clips, dimensions = train.shape
    numbers = np.repeat(np.arange(sessions), clips)
    rows = {"embedding": train.reshape(-1, dimensions), "recording_id": [f"day {n}" for n in numbers]}
    rows |= {"domain": ["source"] * len(numbers), "machine": ["machine"] * len(numbers)}
    rows |= {"clip_id": [f"machine/{n}" for n in range(len(numbers))]}
    return build_memory_bank(Dataset.from_dict(rows), DetectorConfig(statistics="band_statistics"))


def follow(bank: MemoryBank, sessions: list[np.ndarray]) -> Drift:
    watch = DriftWatch("machine", bank)
    for number, embeddings in enumerate(sessions):
        scores = bank.scorer.score(torch.from_numpy(np.ascontiguousarray(embeddings))).numpy()
        watch.add(DriftSession(str(number), embeddings, scores, scores > bank.threshold))
    return watch.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=2000, help="seed of the first installation")
    parser.add_argument("--installations", type=int, default=200)
    parser.add_argument("--cache", type=Path, help="keeps the embeddings of the simulated clips")
    args = parser.parse_args()
    installations = simulated(args.first, args.installations, args.cache)
    false, told, at_once, causes = 0, Counter(), 0, Counter()
    for one in tqdm(installations.values(), desc="drift"):
        bank = bank_of(one["train"])
        days = list(one["days"])
        false += follow(bank, days).is_drift is True
        before = days[:CHANGED_AFTER]
        if follow(bank, before).is_drift:
            continue  # raised already, which counts as false
        for branch in BRANCHES:
            drift = follow(bank, [*before, *one[branch]])
            if drift.is_drift and drift.change is not None:
                told[branch] += 1
                causes[branch, drift.change.cause] += 1
        at_once += follow(bank, list(one["moved"])).is_drift is True
    count = len(installations)
    print(f"{count} installations, from seed {args.first}")
    print(f"drift raised in {DAYS} days without drift: {false} ({100 * false / count:.1f} %)")
    for branch in BRANCHES:
        said = ", ".join(f"{cause} {number}" for (kind, cause), number in sorted(causes.items()) if kind == branch)
        share = 100 * told[branch] / count
        print(f"{branch}: raised within {CHANGED_SESSIONS} sessions {told[branch]} ({share:.1f} %); {said}")
    print(f"moved in the first sessions after fitting: raised {at_once} ({100 * at_once / count:.1f} %)")


if __name__ == "__main__":
    main()
