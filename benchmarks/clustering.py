"""
Clustering: how fast, how much memory, whether micro-clusters agree with exact Ward, and which rule finds the number of
clusters.

    OMP_NUM_THREADS=2 python benchmarks/clustering.py speed        # 1000 clips; 100 000 of one machine
    OMP_NUM_THREADS=2 python benchmarks/clustering.py agreement    # micro-clusters and exact Ward, 8000 clips
    python benchmarks/clustering.py numbers --seeds 0 1 2          # rules for the number of clusters, on factories
    python benchmarks/clustering.py numbers --encoder runs/factory/pretrain-*/encoder --pooling bands

Speed and agreement are of drawn embeddings with 768 dimensions: 16 attributes apart by about as much as clips of one
attribute differ, as unit vectors. `numbers` reads the factory's hidden attributes to measure the rules; the rules use
embeddings alone. Its figures are adjusted for chance: NMI and purity rise with every further cluster.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, List, Value
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_score

from hf_asd import SpectralStatistics, TransformerEncoder, assign_pseudo_attributes, embed
from hf_asd.clustering.config import ClusteringConfig
from hf_asd.clustering.dendrogram import Dendrogram, build_dendrogram
from hf_asd.clustering.num_clusters import choose_num_clusters, leading_components
from hf_asd.clustering.pseudo_attributes import cluster_machine, prepare_points
from hf_asd.data.dcase.attributes import load_attribute_truth
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.schema import attribute_label
from hf_asd.embedding.embed import get_embeddings
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


MOST = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("speed")
    command.add_argument("--clips", type=int, default=100_000)
    command.set_defaults(run=speed)
    command = commands.add_parser("step", help="what `speed` measures")
    command.add_argument("folder")
    command.set_defaults(run=step)
    command = commands.add_parser("agreement")
    command.add_argument("--clips", type=int, default=8000)
    command.set_defaults(run=agreement)
    command = commands.add_parser("numbers")
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one factory each")
    command.add_argument("--encoder", help="folder or id; by default spectral statistics")
    command.add_argument("--pooling", default="mean")
    command.add_argument(
        "--clips", type=int, default=200, help="clips a machine, of which 10 are of the target domain"
    )
    command.set_defaults(run=numbers)
    args = parser.parse_args()
    args.run(args)


def drawn(clips: int, spread: float = 0.6, attributes: int = 16, dimensions: int = 768, seed: int = 0):
    """Unit vectors (float32) and the attribute of each."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(attributes, clips, p=rng.dirichlet(np.full(attributes, 5.0)))
    centers = spread * rng.standard_normal((attributes, dimensions)).astype(np.float32)
    common, factors = 3 * rng.standard_normal(dimensions), 0.3 * rng.standard_normal((8, dimensions))
    vectors = np.empty((clips, dimensions), dtype=np.float32)
    for start in range(0, clips, 10_000):
        rows = slice(start, min(start + 10_000, clips))
        count = rows.stop - start
        noise = 0.5 * rng.standard_normal((count, dimensions), dtype=np.float32)
        vectors[rows] = centers[truth[rows]] + common + rng.standard_normal((count, 8)) @ factors + noise
        vectors[rows] /= np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    return vectors, truth


def speed(args: argparse.Namespace):
    vectors, _ = drawn(1000)
    domains = np.full(1000, "source")
    for name, config in (("16 clusters", ClusteringConfig(num_clusters=16)), ("number chosen", ClusteringConfig())):
        seconds = min(timed(lambda config=config: cluster_machine(vectors, domains, config)) for _ in range(5))
        print(f"1000 clips x 768, {name}: {seconds:.2f} s (target: under 0.5 s)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_clips(args.clips, folder)
        # A process of its own, whose peak memory is that of the step.
        subprocess.run([sys.executable, __file__, "step", folder], check=True)


def write_clips(clips: int, folder: str):
    vectors, truth = drawn(clips)
    columns = {"machine": ["fan"] * clips, "domain": ["source"] * clips, "embedding": vectors}
    columns |= {"attribute_label": [None] * clips, "truth": truth.astype(str).tolist()}
    features = Features({name: Value("string") for name in columns})
    features["embedding"] = List(Value("float32"), length=768)
    Dataset.from_dict(columns, features=features).save_to_disk(folder)


def step(args: argparse.Namespace):
    dataset = Dataset.load_from_disk(args.folder)
    start = time.perf_counter()
    clustered = assign_pseudo_attributes(dataset)
    seconds = time.perf_counter() - start
    peak = peak_memory()
    names = clustered["pseudo_attribute"][:]
    agreed = adjusted_rand_score(clustered["truth"][:], names)
    print(
        f"{len(names)} clips x 768, the whole step: {seconds:.0f} s (target: 300), peak memory {peak:.2f} GiB "
        f"(target: 2), {len(set(names))} clusters, ARI with the truth {agreed:.3f}"
    )


def peak_memory() -> float:
    """In GiB, of this process alone; the value of getrusage includes the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def agreement(args: argparse.Namespace):
    for spread in (1.0, 0.6, 0.5):
        vectors, truth = drawn(args.clips, spread)
        start = time.perf_counter()
        exact = build_dendrogram(vectors)
        middle = time.perf_counter()
        micro = build_dendrogram(vectors, exact_clips=0)
        end = time.perf_counter()
        # Where clusters overlap, a small change of the embeddings also changes the clusters of exact Ward.
        jitter = np.random.default_rng(1).standard_normal(vectors.shape, dtype=np.float32) * vectors.std(axis=0) / 100
        moved = build_dendrogram(vectors + jitter)
        a, b, c = (dendrogram.cut(16)[dendrogram.leaves] for dendrogram in (exact, micro, moved))
        print(
            f"spread {spread}, {args.clips} clips: exact {middle - start:.1f} s, micro-clusters {end - middle:.1f} s; "
            f"ARI with each other {adjusted_rand_score(a, b):.3f} (target: 0.95), of exact Ward with itself when each "
            f"value changes by a hundredth of its standard deviation {adjusted_rand_score(a, c):.3f}, with the truth "
            f"{adjusted_rand_score(truth, a):.3f} and {adjusted_rand_score(truth, b):.3f}",
            flush=True,
        )


def numbers(args: argparse.Namespace):
    encoder = SpectralStatistics()
    if args.encoder:
        encoder = TransformerEncoder.from_pretrained(args.encoder, args.pooling)
    found = {}
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            for machine, points, truth in hidden_machines(Path(folder), seed, args.clips, encoder):
                dendrogram = build_dendrogram(points)
                cuts = {k: dendrogram.cut(k)[dendrogram.leaves] for k in range(1, MOST + 1)}
                rules = {name: rule(dendrogram, cuts) for name, rule in RULES.items()}
                rules["best cut (oracle)"] = max(cuts, key=lambda k: adjusted_rand_score(truth, cuts[k]))
                for name, k in rules.items():
                    scores = adjusted_rand_score(truth, cuts[k]), adjusted_mutual_info_score(truth, cuts[k])
                    found.setdefault(name, []).append((k, *scores))
                print(f"seed {seed}, {machine}, {len(set(truth))} true: {rules}", flush=True)
    for name, rows in found.items():
        counts, rand, information = zip(*rows, strict=True)
        print(f"{name:32s} ARI {np.mean(rand):.3f}  AMI {np.mean(information):.3f}  clusters {list(counts)}")


def hidden_machines(folder: Path, seed: int, clips: int, encoder):
    """By machine the points that are clustered and the true attributes; all machines of a factory hide theirs."""
    config = FactoryConfig(num_source_train=clips - 10, num_target_train=10, num_test=0, hidden_machines=6, seed=seed)
    train = load_dcase(write_factory(config, folder / "factory"), cache_dir=folder / "rows")["train"]
    truth = load_attribute_truth(folder / "factory" / "ground_truth")
    points = prepare_points(get_embeddings(embed(train, encoder)).numpy(), ClusteringConfig())
    machines = np.array(train["machine"][:])
    labels = np.array([attribute_label(truth[clip_id]) for clip_id in train["clip_id"][:]])
    for machine in np.unique(machines):
        yield machine, points[machines == machine], labels[machines == machine]


def silhouette(dendrogram: Dendrogram, cuts: dict[int, np.ndarray]) -> int:
    return max(range(2, MOST + 1), key=lambda k: silhouette_score(dendrogram.points, cuts[k]))


def gap(dendrogram: Dendrogram, cuts: dict[int, np.ndarray], references: int = 5) -> int:
    """R. Tibshirani et al. 2001, references drawn in the box of the principal components."""
    points, rng = leading_components(dendrogram.points, dendrogram.weights), np.random.default_rng(0)
    logs = []
    for _ in range(references):
        box = rng.uniform(points.min(0), points.max(0), points.shape)
        reference = build_dendrogram(box)
        logs.append([np.log(scatter(box, reference.cut(k))) for k in range(1, MOST + 1)])
    gaps = np.mean(logs, axis=0) - np.log([scatter(points, cuts[k]) for k in range(1, MOST + 1)])
    errors = np.std(logs, axis=0) * np.sqrt(1 + 1 / references)
    return next((k for k in range(1, MOST) if gaps[k - 1] >= gaps[k] - errors[k]), MOST)


def scatter(points: np.ndarray, labels: np.ndarray) -> float:
    return sum(((points[labels == k] - points[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels))


def stable(dendrogram: Dendrogram, cuts: dict[int, np.ndarray], resamples: int = 6) -> int:
    """The number at which clusters change least when a fifth of the clips is left out."""
    rng, count, scores = np.random.default_rng(0), len(dendrogram.points), np.zeros(MOST + 1)
    for _ in range(resamples):
        kept = rng.permutation(count)[: round(0.8 * count)]
        part = build_dendrogram(dendrogram.points[kept])
        scores[2:] += [adjusted_rand_score(cuts[k][kept], part.cut(k)) for k in range(2, MOST + 1)]
    return int(scores[2:].argmax()) + 2


RULES = {
    "information criterion (default)": lambda dendrogram, cuts: choose_num_clusters(dendrogram, MOST),
    "silhouette": silhouette,
    "gap": gap,
    "stability": stable,
    "16 always": lambda dendrogram, cuts: 16,
}


if __name__ == "__main__":
    main()
