"""
How much longer a detector takes than its encoder alone: to load, and to decide about a clip.

    python benchmarks/loading.py [--machines 10] [--clips 1000] [--repeats 5]

An encoder of the size of EAT-base with random weights, and random embeddings. The detector and the encoder alone are
measured in turn, and the medians are compared.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModel

from hf_asd import AnomalyDetector, EatConfig, EatFeatureExtractor, TransformerEncoder
from hf_asd.audio.reading import SAMPLING_RATE
from hf_asd.hub.manifest import checksums


def timed(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    encoder = TransformerEncoder(AutoModel.from_config(EatConfig()), EatFeatureExtractor())
    count = args.machines * args.clips
    domains = ["target" if row % 100 == 99 else "source" for row in range(count)]
    columns = {
        "machine": [f"machine-{row // args.clips:02d}" for row in range(count)],
        "domain": domains,
        "condition": ["normal"] * count,
        "clip_id": [f"machine/train/clip-{row:06d}" for row in range(count)],
        "embedding": rng.standard_normal((count, encoder.dimensions)).astype(np.float32),
    }
    detector = AnomalyDetector(encoder).fit(Dataset.from_dict(columns))
    with tempfile.TemporaryDirectory() as name:
        folder = detector.save_pretrained(Path(name) / "detector")
        sizes = {path: entry["bytes"] / 2**20 for path, entry in checksums(folder).items()}
        loads, bare_loads, hashes = [], [], []
        for _ in range(args.repeats):
            bare_loads.append(timed(lambda: TransformerEncoder.from_pretrained(folder / "encoder")))
            loads.append(timed(lambda: AnomalyDetector.from_pretrained(folder)))
            hashes.append(timed(lambda: checksums(folder)))
        loaded = AnomalyDetector.from_pretrained(folder)
    clip = rng.standard_normal(10 * SAMPLING_RATE).astype(np.float32)
    decisions, embeddings = [], []
    loaded(clip, SAMPLING_RATE, machine="machine-00")
    for _ in range(4 * args.repeats):
        embeddings.append(timed(lambda: loaded.encoder([clip])))
        decisions.append(timed(lambda: loaded(clip, SAMPLING_RATE, machine="machine-00")))

    print(f"{args.machines} machines x {args.clips} normal clips, {encoder.dimensions} dimensions")
    for path, size in sizes.items():
        print(f"  {path:<32} {size:8.2f} MiB")
    print(f"encoder alone loads in         {median(bare_loads):.2f} s")
    print(f"the detector in                {median(loads):.2f} s, {median(loads) - median(bare_loads):.2f} s more")
    print(f"  of which reading checksums   {median(hashes):.2f} s")
    ratio = median(decisions) / median(embeddings)
    print(f"a 10 s clip: encoder           {1000 * median(embeddings):.1f} ms")
    print(f"             decision          {1000 * median(decisions):.1f} ms, {100 * (ratio - 1):+.1f} %")


if __name__ == "__main__":
    main()
