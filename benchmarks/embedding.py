"""
How much slower the whole path from WAV files to an embedding column on disk is than the encoder alone.

    python benchmarks/embedding.py

An encoder of the size of EAT-base with random weights, clips of 10 s. Both are measured in turn in one run; the result
is the ratio of their throughputs, the median over the repeats.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from hf_asd import EatConfig, EatFeatureExtractor, EatModel, TransformerEncoder, embed, load_folder


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clips", type=int, default=16)
parser.add_argument("--repeats", type=int, default=3)
args = parser.parse_args()

rng = np.random.default_rng(0)
model, extractor = EatModel(EatConfig()).eval(), EatFeatureExtractor()
encoder = TransformerEncoder(model, extractor)
ratios = []
with tempfile.TemporaryDirectory() as folder:
    clips = [0.1 * rng.standard_normal(160_000).astype(np.float32) for _ in range(args.clips)]
    for number, clip in enumerate(clips):
        soundfile.write(Path(folder) / f"{number:03d}.wav", clip, 16_000)
    dataset = load_folder(folder)["train"]
    preloaded = extractor(clips, sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.inference_mode():
        model(preloaded[: encoder.batch_size])  # the first call is slower
    for repeat in range(args.repeats):
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in preloaded.split(encoder.batch_size):
                model(batch)
        bare = time.perf_counter() - start
        start = time.perf_counter()
        embed(dataset, encoder, Path(folder) / f"embeddings-{repeat}")
        whole = time.perf_counter() - start
        ratios.append(bare / whole)
        print(
            f"bare {args.clips / bare:.2f} clips/s, WAV to column {args.clips / whole:.2f} clips/s: {ratios[-1]:.3f}"
        )
print(f"ratio of throughputs, median of {args.repeats}: {statistics.median(ratios):.3f}")
