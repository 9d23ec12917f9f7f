"""
The speed of the batched filter bank, compared with transformers' ASTFeatureExtractor on the same clips.

    python benchmarks/frontend.py

Clips of 10 s; both are measured in turn in one run. Printed are the ratio of their times (median over the repeats) and
the largest difference of their log energies.
"""

import argparse
import statistics
import time

import numpy as np
from transformers import ASTFeatureExtractor

from hf_asd import EatFeatureExtractor


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clips", type=int, default=16)
parser.add_argument("--repeats", type=int, default=5)
args = parser.parse_args()

rng = np.random.default_rng(0)
clips = [0.1 * rng.standard_normal(160_000).astype(np.float32) for _ in range(args.clips)]
clips = [clip - clip.mean() for clip in clips]  # EAT subtracts the mean of a clip, AST does not
ours, theirs = EatFeatureExtractor(), ASTFeatureExtractor(mean=-4.268, std=4.569)


def timed(extractor) -> tuple[float, np.ndarray]:
    # Idle threads of the other one (OpenBLAS, OpenMP) keep a core busy for a while.
    time.sleep(0.2)
    extractor(clips, sampling_rate=16_000)
    start = time.perf_counter()
    values = extractor(clips, sampling_rate=16_000, return_tensors="np")["input_values"]
    return time.perf_counter() - start, values


ratios = []
for _ in range(args.repeats):
    (our_time, our_values), (their_time, their_values) = timed(ours), timed(theirs)
    ratios.append(their_time / our_time)
    print(
        f"ours {args.clips / our_time:.0f} clips/s, AST {args.clips / their_time:.0f} clips/s: {ratios[-1]:.1f} times"
    )
difference = np.abs(our_values[:, :998] - their_values[:, :998]).max() * 2 * 4.569
print(f"median of {args.repeats}: {statistics.median(ratios):.1f} times; largest difference {difference:.1e}")
