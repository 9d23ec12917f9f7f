"""
How long detection takes without the embeddings: fitting and scoring the clips of one DCASE Challenge with every preset
(target: under 1 s on two cores for `standard`), and the nearest of a million references in half precision, with its
memory.

    python benchmarks/detector.py
"""

import argparse
import resource
import time

import torch

from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.backends.nearest_neighbors import CosineNeighbors
from hf_asd.detection.config import PRESETS, ScoringConfig
from hf_asd.detection.threshold import threshold_from


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--references", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--large", type=int, default=1_000_000, help="references of the large bank; 0 for none")
    args = parser.parse_args()
    print(f"threads: {torch.get_num_threads()}")
    machines = [torch.randn(args.references + args.queries, args.dimensions) + 3 for _ in range(args.machines)]
    begin = time.perf_counter()
    for (
        vectors
    ) in machines:  # the product of all queries and references is the unit that the presets are compared with
        vectors[: args.references] @ vectors.T
    unit = time.perf_counter() - begin
    print(f"a single-precision product of references and clips, the least that can be done: {unit:.3f} s")
    for preset in PRESETS:
        begin, cpu = time.perf_counter(), time.process_time()
        for vectors in machines:
            source, target, queries = vectors.split([args.references - 10, 10, args.queries])
            scorer = make_scorer({"source": source, "target": target}, ScoringConfig(preset=preset))
            threshold_from(scorer.leave_one_out().numpy(), 0.05)
            scorer.score(queries)
        seconds = time.perf_counter() - begin
        print(
            f"{preset}: {args.machines} machines x ({args.references} references, {args.queries} clips) x "
            f"{args.dimensions} in {seconds:.2f} s ({time.process_time() - cpu:.2f} s of processor time), "
            f"{seconds / unit:.0f} such products"
        )
    if args.large:
        large(args.large, args.queries, args.dimensions)


def large(references: int, queries: int, dimensions: int):
    bank = torch.empty(references, dimensions, dtype=torch.float16)
    for part in bank.split(10_000):
        part.normal_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    CosineNeighbors(bank).score(torch.randn(queries, dimensions))
    seconds = time.perf_counter() - begin
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"1-NN of {queries} clips in {references} x {dimensions} float16 ({bank.nbytes / 2**30:.2f} GiB): "
        f"{seconds:.1f} s, {more / 2**10:.0f} MiB of memory beyond the bank"
    )


if __name__ == "__main__":
    main()
