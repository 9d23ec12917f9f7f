"""
What a new day does to false alarms, by how many days the normal recordings come from.

    python benchmarks/sessions.py WORK [--seeds 101 102 ...] [--plot FILE.png]

Each simulated installation (a machine of a factory; recordings of 10 s) is recorded on 30 days. From day to day the
microphone is moved a little, the temperature, the loudness and the usual loads of the machine change, and other
machines in the hall are on or off (`hf_asd/simulation/sessions.py`). A detector learns from 60 normal recordings in
all: of one day, or of 3, 6 or 10 days; it is tested on the 20 days after the tenth, with 5 normal and 3 faulty
recordings each.

For each number of days: false alarms on new days, where 5 % were asked for, with their 95 % interval (bootstrap over
installations), the median and the 90 % quantile over installations, and faults found; for detectors that know the
sessions, and for those that do not. The factories of seeds 11 to 15 and 21 to 24 were for choosing, those of 101 to
105 for the figures in README.md. Embeddings are kept in WORK.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from hf_asd import DetectorConfig, SpectralStatistics
from hf_asd.detection.memory_bank import build_memory_bank
from hf_asd.metrics.bootstrap import confidence_interval
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip
from hf_asd.simulation.sessions import draw_session


NUM_SESSIONS, CLIPS = (1, 3, 6, 10), 60
TEST_DAYS, NORMAL, FAULTY = range(10, 30), 5, 3  # recordings of each day
CLIP_SECONDS, SNR_DB = 10.0, (3.0, 9.0)
RATE = 0.05
ENCODER = SpectralStatistics()
SYSTEMS = ("sessions known", "sessions unknown")


def embed_installation(folder: Path, seed: int, machine: str) -> dict[str, np.ndarray]:
    """
    Embeddings of an installation's clips, kept in a file: `embedding`, `session` and `condition` (`learn`, `normal`
    or `anomaly`).
    """
    path = folder / f"{seed}-{machine}.npz"
    if not path.exists():
        rows = []
        for day in (*range(max(NUM_SESSIONS)), *TEST_DAYS):
            session = draw_session(seed, machine, day)
            plan = [("normal", NORMAL), ("anomaly", FAULTY)]
            if day not in TEST_DAYS:
                plan = [("normal", CLIPS // min(count for count in NUM_SESSIONS if count > day))]
            for condition, count in plan:
                for number in range(1000 * day, 1000 * day + count):
                    clip = draw_clip(seed, machine, "train", "source", condition, number, session)
                    samples = record_clip(clip, seed, CLIP_SECONDS, SNR_DB, session=session)
                    samples = np.round(samples * 2**15).astype(np.float32) / 2**15
                    kind = condition if day in TEST_DAYS else "learn"
                    rows.append({"embedding": ENCODER([samples])[0], "session": day, "condition": kind})
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **{key: np.stack([row[key] for row in rows]) for key in rows[0]})
        unfinished.rename(path)
    with np.load(path) as content:
        return dict(content)


def measure(clips: dict[str, np.ndarray], num_sessions: int, is_known: bool) -> tuple[float, float]:
    """Shares of normal and of faulty recordings of new days that raise the alarm."""
    learn = clips["condition"] == "learn"
    rows = [np.flatnonzero(learn & (clips["session"] == day))[: CLIPS // num_sessions] for day in range(num_sessions)]
    rows = np.concatenate(rows)
    columns = {"machine": "machine", "domain": "unknown"}
    content = {name: [word] * len(rows) for name, word in columns.items()}
    content["clip_id"] = [str(row) for row in rows]
    content["session"] = [str(day) if is_known else None for day in clips["session"][rows]]
    content["embedding"] = clips["embedding"][rows]
    config = DetectorConfig(statistics="band_statistics", false_alarm_rate=RATE)
    bank = build_memory_bank(Dataset.from_dict(content), config)
    alarms = bank.scorer.score(torch.from_numpy(clips["embedding"])).numpy() > bank.threshold
    return float(alarms[clips["condition"] == "normal"].mean()), float(alarms[clips["condition"] == "anomaly"].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(101, 106)))
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    found = {(count, name): [] for count in NUM_SESSIONS for name in SYSTEMS}
    installations = [(seed, machine) for seed in args.seeds for machine in MACHINES]
    for seed, machine in tqdm(installations, desc="installations"):
        clips = embed_installation(args.work, seed, machine)
        for (count, name), results in found.items():
            results.append(measure(clips, count, name == SYSTEMS[0]))
    results = {key: np.array(values) for key, values in found.items()}
    print_table(results)
    if args.plot:
        plot(args.plot, results)


def print_table(results: dict[tuple[int, str], np.ndarray]) -> None:
    print(f"{'':<30}{'false alarms in %':>22}{'median':>9}{'90 %':>8}{'as asked':>10}{'found in %':>20}")
    for (count, name), values in results.items():
        alarms = values[:, 0]
        cells = [with_interval(alarms).rjust(22), f"{100 * np.median(alarms):.1f}".rjust(9)]
        cells += [f"{100 * np.quantile(alarms, 0.9):.1f}".rjust(8), f"{alarms.mean() / RATE:.2f}".rjust(10)]
        print(
            f"{f'{count} session' + 's' * (count > 1)}, {name}".ljust(30)
            + "".join(cells)
            + with_interval(values[:, 1]).rjust(20)
        )


def with_interval(values: np.ndarray) -> str:
    drawn = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = confidence_interval(values[drawn].mean(1))
    return f"{100 * values.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def plot(path: Path, results: dict[tuple[int, str], np.ndarray]) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, color, shift in zip(SYSTEMS, ("tab:blue", "tab:gray"), (-0.08, 0.08), strict=True):
        for panel, column in zip(axes, (0, 1), strict=True):
            values = np.stack([100 * results[count, name][:, column] for count in NUM_SESSIONS])
            places = np.arange(len(NUM_SESSIONS)) + shift
            low, high = np.quantile(values, (0.1, 0.9), axis=1)
            panel.vlines(places, low, high, color=color, linewidth=2, alpha=0.4)
            panel.plot(places, values.mean(1), color=color, marker="o", label=name)
            panel.set_xticks(range(len(NUM_SESSIONS)), [str(count) for count in NUM_SESSIONS])
            panel.set_xlabel(f"days of the {CLIPS} normal recordings")
    axes[0].axhline(100 * RATE, color="black", linewidth=0.7)
    axes[0].set(ylabel="false alarms on new days in %", ylim=(0, None))
    axes[1].set(ylabel="faults found in %", ylim=(0, 100))
    axes[0].legend(title="mean; line: 10 to 90 % of installations")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
