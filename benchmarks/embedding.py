"""
How much slower the whole path from WAV files to an embedding column on disk is than the encoder alone.

    python benchmarks/embedding.py                       # an encoder of the size of EAT-base, random weights
    python benchmarks/embedding.py --encoder bundled

Clips of 10 s. Whole path and encoder alone are measured in turn in one run; the results are ratios of throughputs,
medians over the repeats. The encoder alone gets log energies that are in memory: in batches, whose operations all
threads share, as transformers does; and in batches that each have a thread of their own, as this package does.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from hf_asd import EatConfig, EatFeatureExtractor, EatModel, TransformerEncoder, embed, load_folder
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.threads import map_on_cores


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--encoder", choices=["eat-base", "bundled"], default="eat-base")
parser.add_argument("--clips", type=int, help="default: 16, of the bundled encoder 256")
parser.add_argument("--repeats", type=int, default=3)
args = parser.parse_args()

rng = np.random.default_rng(0)
if args.encoder == "bundled":
    encoder = TransformerEncoder.from_pretrained(BUNDLED_ENCODER)
else:
    encoder = TransformerEncoder(EatModel(EatConfig()).eval(), EatFeatureExtractor())
clips = args.clips or (256 if args.encoder == "bundled" else 16)


@torch.inference_mode()
def forward(batch):
    encoder.model(batch)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


ratios: dict[str, list[float]] = {"all threads share a batch": [], "a batch for each thread": []}
with tempfile.TemporaryDirectory() as folder:
    sounds = [0.1 * rng.standard_normal(160_000).astype(np.float32) for _ in range(clips)]
    for number, clip in enumerate(sounds):
        soundfile.write(Path(folder) / f"{number:03d}.wav", clip, 16_000)
    dataset = load_folder(folder)["train"]
    inputs = encoder.feature_extractor(sounds, sampling_rate=16_000, return_tensors="pt")["input_values"]
    batches = inputs.split(encoder.batch_size)
    forward(batches[0])  # the first call is slower
    for repeat in range(args.repeats):
        alone = [seconds(lambda: list(map(forward, batches))), seconds(lambda: map_on_cores(forward, batches))]
        whole = seconds(partial(embed, dataset, encoder, Path(folder) / f"embeddings-{repeat}"))
        speeds = [f"{clips / spent:.2f}" for spent in (*alone, whole)]
        print(f"clips/s: alone {speeds[0]} and {speeds[1]}, from WAV to column {speeds[2]}")
        for own, spent in zip(ratios.values(), alone, strict=True):
            own.append(spent / whole)
for name, own in ratios.items():
    print(f"throughput compared with the encoder alone ({name}): {statistics.median(own):.3f}")
