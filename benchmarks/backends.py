"""
Which backends, normalizations and fusions find faults: official score and the share found where 5 and 1 % of the
tested normal clips lie higher, over the machines of ten simulated factories.

    python benchmarks/backends.py WORK [--seeds 11 12 ...] [--references 10 30 100]

Machines, references and tested clips are those of power.py, which keeps its embeddings in the same WORK; the factories
of seeds 11 to 20 are those that options are chosen on. Three embeddings: spectral statistics without their events,
the encoder of the package (bands_std) on the machines that it was not trained on, and the mean log-mel. The first row
of each table is the preset `standard`, "fast" its neighbor by cosine distance.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from power import USUAL, embed_machine, machines_of, official_scores, three_scores
from tqdm.auto import tqdm

from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.config import ScoringConfig
from hf_asd.embedding.band_statistics import SPECTRUM_SIZE
from hf_asd.metrics.bootstrap import confidence_interval


STANDARD = ("conditional", "mahalanobis")
BY_DOMAIN = {"per_domain_banks": True}
SYSTEMS = {
    "standard": {},
    "conditional": {"backends": ("conditional",)},
    "Mahalanobis": {"backends": ("mahalanobis",)},
    "fast": {"preset": "fast"},
    "Euclidean": {"backends": ("euclidean",)},
    "standardized neighbor": {"backends": ("standardized_knn",)},
    "maximum deviation": {"backends": ("max_deviation",)},
    "PCA residual": {"backends": ("pca_residual",)},
    "standard, largest instead of mean": {"fusion": "max"},
    "standard, smallest instead of mean": {"fusion": "min"},
    "standard and standardized neighbor": {"backends": (*STANDARD, "standardized_knn")},
    "standard and maximum deviation": {"backends": (*STANDARD, "max_deviation")},
    "standard and PCA residual": {"backends": (*STANDARD, "pca_residual")},
    "standard, z by domain": {"normalization": "z", **BY_DOMAIN},
    "Mahalanobis by domain": {"backends": ("mahalanobis",), **BY_DOMAIN},
    "fast, three neighbors": {"preset": "fast", "num_neighbors": 3},
    "fast, ratio": {"preset": "fast", "normalization": "ratio"},
    "fast, difference": {"preset": "fast", "normalization": "difference"},
    "fast, VarMin": {"preset": "fast", "normalization": "varmin"},
    "fast, VarMin of logarithms": {"preset": "fast", "normalization": "log_varmin"},
    "fast, z by domain": {"preset": "fast", "normalization": "z", **BY_DOMAIN},
    "fast, ratio by domain, SMOTE": {"preset": "fast", "normalization": "ratio", "target": "smote", **BY_DOMAIN},
    "fast by domain, MemMixup": {"preset": "fast", "target": "mem_mixup", **BY_DOMAIN},
    "fast, 8 k-means": {"preset": "fast", "reduction": "k_means", "num_references": 8},
    "fast, 8 k-center": {"preset": "fast", "reduction": "k_center", "num_references": 8},
    "Euclidean, ratio": {"backends": ("euclidean",), "normalization": "ratio"},
}
BANDS = {
    "fast, BEAM of 8 bands": {"preset": "fast", "num_bands": 8},
    "fast, BEAM of 8 bands, largest": {"preset": "fast", "num_bands": 8, "band_fusion": "max"},
}
EMBEDDINGS = {"band_statistics": SYSTEMS, "encoder": SYSTEMS | BANDS, "mean": SYSTEMS}
NAMES = {"band_statistics": "spectral statistics", "encoder": "encoder of the package", "mean": "mean log-mel"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(11, 21)))
    parser.add_argument("--references", type=int, nargs="+", default=[10, 30, 100])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    machines = [(seed, name) for seed in args.seeds for name in machines_of(seed)]
    found = {embedding: {count: defaultdict(dict) for count in args.references} for embedding in EMBEDDINGS}
    for machine in tqdm(machines, desc="machines"):
        clips = embed_machine(args.work, *machine, USUAL)
        for embedding, systems in EMBEDDINGS.items():
            for count in args.references if embedding in clips else ():
                for system, options in systems.items():
                    found[embedding][count][system][machine] = [measure(clips, embedding, count, options)]
    for embedding, by_count in found.items():
        print_table(embedding, by_count)


def measure(clips: dict[str, np.ndarray], embedding: str, count: int, options: dict) -> dict:
    split, domain, condition = clips["split"], clips["domain"], clips["condition"]
    vectors, rng = torch.from_numpy(clips[embedding]), np.random.default_rng([1, 0])
    vectors = vectors[:, :SPECTRUM_SIZE] if embedding == "band_statistics" else vectors
    target = min(10, max(1, count // 10))
    references = {}
    for name, wanted in (("source", count - target), ("target", target)):
        rows = rng.permutation(np.flatnonzero((split == "train") & (domain == name)))[:wanted]
        references[name] = vectors[rows]
    scores = make_scorer(references, ScoringConfig(**options)).score(vectors).numpy()
    normal, faulty = (split == "test") & (condition == "normal"), (split == "test") & (condition != "normal")
    result = {"score": three_scores(scores, normal, faulty, domain)}
    for rate in (0.05, 0.01):
        result[rate] = (scores[faulty] > np.quantile(scores[normal], 1 - rate, method="weibull")).mean()
    return result


def print_table(embedding: str, by_count: dict[int, dict]) -> None:
    """One row a system: official score, its difference from the first with a 95 % interval, found at 5 and 1 %."""
    number = len(next(iter(by_count.values()))["standard"])
    print(f"\n{NAMES[embedding]}, {number} machines\n")
    print("| system |" + "".join(f" {count} references | found |" for count in by_count))
    print("|---|" + "---|---|" * len(by_count))
    for system in EMBEDDINGS[embedding]:
        cells = []
        for systems in by_count.values():
            machines = sorted(systems[system])
            own, first = (official_scores(systems[name], machines) for name in (system, "standard"))
            low, high = confidence_interval((own - first)[1:])
            cells.append(f"{own[0]:.1f}" + ("" if system == "standard" else f" ({low:+.1f} to {high:+.1f})"))
            shares = [np.mean([systems[system][machine][0][rate] for machine in machines]) for rate in (0.05, 0.01)]
            cells.append(f"{shares[0]:.3f}, {shares[1]:.3f}")
        print(f"| {system} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
