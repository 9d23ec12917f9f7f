"""
How well detectors find faults of real machines from a few normal recordings, at the threshold that they come with.

    python benchmarks/real_machines.py DIR [DIR ...] [--references 10 15 30] [--embeddings FILE.npz:NAME ...]

Each DIR is a folder as `hf-asd fit` takes it, with normal and anomalous recordings of one machine or several. In each
of 50 random splits (seed 0) the given number of normal recordings are the references; the other normal ones and all
anomalous ones are scored. Machines with fewer than five normal recordings beside the references are left out of that
number. Printed are means over the splits with their standard deviation: AUC, partial AUC (up to 10 % false alarms),
the share of faults found and of false alarms at the detector's own threshold for 5 %, and the share of normal
recordings with one added knock (30 dB above its octave, 64 ms) that raise the alarm.

`--embeddings` compares with an encoder that is not here: an `.npz` file with `names` (paths of recordings relative to
DIR or to a folder above it) and an array of one row a recording under NAME, compared by the same backends.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from datasets import concatenate_datasets
from scipy.signal import butter, sosfilt
from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from hf_asd import DetectorConfig, SpectralStatistics, TransformerEncoder, load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.threshold import threshold_from
from hf_asd.metrics.functional import auc, pauc
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER


COLUMNS = ("AUC", "pAUC", "found", "false alarms", "knocks found")
RATE, KNOCK = 16_000, 1024  # samples: 64 ms
DECAY_SECONDS = 0.03
MOST_TESTED = 5  # normal recordings that remain beside the references at least


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    parser.add_argument("--references", type=int, nargs="+", default=[10, 15, 30])
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--embeddings", action="append", default=[], metavar="FILE:NAME")
    args = parser.parse_args()
    disable_progress_bar()
    logging.getLogger("hf_asd").setLevel(logging.ERROR)
    heading = "".join(f"{name:>20}" for name in COLUMNS)
    print(f"{'machine':<18}{'references':>10}  {'detector':<28}{heading}")
    for folder in args.folders:
        rows = concatenate_datasets(list(load_folder(folder).values()))
        machines = np.array(rows["machine"][:])
        for machine in sorted(set(machines.tolist())):
            measure(args, machine, rows.select(np.flatnonzero(machines == machine)))


def measure(args: argparse.Namespace, machine: str, rows) -> None:
    paths = [audio["path"] for audio in rows.cast_column("audio", type(rows.features["audio"])(decode=False))["audio"]]
    is_normal = np.array([condition == "normal" for condition in rows["condition"]])
    clips = [read_audio(path) for path in tqdm(paths, desc=machine, leave=False)]
    knocked = [add_knock(np.random.default_rng(n), clips[n], 30.0) for n in np.flatnonzero(is_normal)]
    systems = embed(clips + knocked) | published(args.embeddings, paths, len(knocked))
    knocks = np.full(len(rows), -1)
    knocks[is_normal] = len(clips) + np.arange(len(knocked))
    for count in args.references:
        if is_normal.sum() < count + MOST_TESTED:
            continue
        for name, (embeddings, config) in systems.items():
            found = split_results(embeddings, config, is_normal, knocks, count, args.splits)
            cells = "".join(f"{f'{np.mean(v):.3f} ({np.std(v):.3f})':>20}" for v in zip(*found, strict=True))
            print(f"{machine[:17]:<18}{count:>10}  {name:<28}{cells}", flush=True)


def embed(clips: list[np.ndarray]) -> dict[str, tuple[np.ndarray, DetectorConfig]]:
    """Of each system, the embeddings of all clips and how they are compared."""
    beside = TransformerEncoder.from_pretrained(BUNDLED_ENCODER, "bands_std", with_statistics=True)
    statistics, mean = SpectralStatistics(), SpectralStatistics("mean")
    return {
        "spectral statistics": (statistics(clips), DetectorConfig(statistics="band_statistics")),
        "with the bundled encoder": (
            np.concatenate([beside([clip]) for clip in clips]),
            DetectorConfig(with_statistics=True, pooling="bands_std"),
        ),
        "mean log-mel, 1-NN": (mean(clips), DetectorConfig(preset="fast", statistics="mean")),
    }


def published(given: list[str], paths: list[str], num_knocked: int) -> dict[str, tuple[np.ndarray, DetectorConfig]]:
    systems = {}
    for text in given:
        file, _, name = text.rpartition(":")
        with np.load(file) as content:
            names, values = [str(item) for item in content["names"]], content[name].astype(np.float32)
        places = [next((row for row, end in enumerate(names) if path.endswith(end)), None) for path in paths]
        if None in places:
            raise SystemExit(f"{file}: names no row for {paths[places.index(None)]}.")
        unknown = np.full((num_knocked, values.shape[1]), np.nan, dtype=np.float32)
        systems[f"{name}"] = (np.concatenate([values[places], unknown]), DetectorConfig(statistics="mean"))
    return systems


def split_results(embeddings, config, is_normal, knocks, count: int, splits: int) -> list[tuple]:
    rng, normal, results = np.random.default_rng(0), np.flatnonzero(is_normal), []
    vectors = torch.from_numpy(np.ascontiguousarray(embeddings))
    for _ in range(splits):
        order = normal[rng.permutation(len(normal))]
        tested = np.concatenate([order[count:], np.flatnonzero(~is_normal)])
        labels = (~is_normal[tested]).astype(int)
        scorer = make_scorer({"source": vectors[order[:count]]}, config)
        threshold, _ = threshold_from(scorer.leave_one_out().numpy(), config.false_alarm_rate)
        scores = scorer.score(vectors[tested]).numpy()
        with_knocks = vectors[knocks[order[count:]]]
        heard = np.nan if with_knocks.isnan().any() else (scorer.score(with_knocks).numpy() > threshold).mean()
        alarms = scores > threshold
        results.append(
            (auc(labels, scores), pauc(labels, scores), alarms[labels == 1].mean(), alarms[labels == 0].mean(), heard)
        )
    return results


def add_knock(rng: np.random.Generator, samples: np.ndarray, db: float) -> np.ndarray:
    """
    A recording with a burst of noise that decays within 64 ms, one octave wide, somewhere between 200 and 4500 Hz.

    Args:
        rng (`np.random.Generator`): decides about moment and band.
        samples (`np.ndarray` of shape `(samples,)`): 16 kHz.
        db (`float`): how far the knock is above the recording in the same octave and 64 ms.
    """
    time, middle = np.arange(len(samples)) / RATE, float(np.exp(rng.uniform(np.log(200), np.log(4500))))
    band = butter(4, (middle / 2**0.5, middle * 2**0.5), "bandpass", fs=RATE, output="sos")
    start = rng.uniform(0.1, 0.8) * len(samples) / RATE
    envelope = np.where(time > start, np.exp(-np.maximum(time - start, 0) / DECAY_SECONDS), 0)
    knock = np.asarray(sosfilt(band, rng.standard_normal(len(samples)))) * envelope
    parts = np.array_split(np.asarray(sosfilt(band, samples)), len(samples) // KNOCK)
    power = np.median([np.mean(np.square(part)) for part in parts])
    first = int(start * RATE)
    loudness = np.mean(np.square(np.asarray(sosfilt(band, knock))[first : first + KNOCK]))
    return (samples + np.sqrt(power * 10 ** (db / 10) / loudness) * knock).astype(np.float32)


if __name__ == "__main__":
    main()
