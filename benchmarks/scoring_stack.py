"""
Which pooling, normalization and backend score best: the official score with bootstrap intervals over six simulated
factories, for spectral statistics and encoders, with 10, 30, 100 and 990 normal clips.

    python benchmarks/scoring_embeddings.py WORK ...   # once, see its docstring
    python benchmarks/scoring_stack.py WORK

Of the normal clips a tenth, and at most ten, are of the target domain. Scores are kept in WORK/scores, where a second
call continues; the table and the plot are WORK/scoring_stack.md and WORK/scoring_stack.png. "Oracle" takes for every
machine the system that is best on its test clips: an upper bound for any choice between systems, not a result.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scoring_embeddings import FACTORIES, load, rows_of
from tqdm.auto import tqdm

from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.config import ScoringConfig
from hf_asd.metrics.bootstrap import bootstrap_official_scores, confidence_interval
from hf_asd.metrics.functional import harmonic_mean
from hf_asd.metrics.official_score import score_table


SIZES = (10, 30, 100, 990)
JOINED = ("max_deviation", "standardized_knn")
CLOSE = ("cosine", "mahalanobis")
SYSTEMS = {
    "1-NN cosine (fast)": {"preset": "fast"},
    "3-NN cosine": {"preset": "fast", "num_neighbors": 3},
    "1-NN cosine, ratio": {"preset": "fast", "normalization": "ratio"},
    "1-NN cosine, ratio by domain": {"preset": "fast", "normalization": "ratio", "per_domain_banks": True},
    "1-NN cosine, difference": {"preset": "fast", "normalization": "difference"},
    "1-NN cosine, VarMin": {"preset": "fast", "normalization": "varmin"},
    "1-NN cosine, z by domain": {"preset": "fast", "normalization": "z", "per_domain_banks": True},
    "1-NN cosine, SMOTE": {"preset": "fast", "normalization": "ratio", "per_domain_banks": True, "target": "smote"},
    "1-NN cosine, MemMixup": {"preset": "fast", "per_domain_banks": True, "target": "mem_mixup"},
    "1-NN cosine, 16 k-means": {"preset": "fast", "reduction": "k_means", "num_references": 16},
    "1-NN cosine, 16 k-center": {"preset": "fast", "reduction": "k_center", "num_references": 16},
    "1-NN Euclidean": {"backends": ("euclidean",), "normalization": "none"},
    "1-NN Euclidean, ratio": {"backends": ("euclidean",), "normalization": "ratio"},
    "standardized 1-NN": {"backends": ("standardized_knn",)},
    "maximum deviation": {"backends": ("max_deviation",)},
    "Mahalanobis": {"backends": ("mahalanobis",)},
    "Mahalanobis, selective": {"backends": ("mahalanobis",), "per_domain_banks": True},
    "max deviation + standardized": {"backends": JOINED, "fusion": "mean"},
    "max deviation + standardized, by domain": {
        "backends": JOINED,
        "fusion": "mean",
        "normalization": "z",
        "per_domain_banks": True,
    },
    "+ Mahalanobis, mean": {"backends": (*JOINED, "mahalanobis"), "fusion": "mean"},
    "+ Mahalanobis, min": {"backends": (*JOINED, "mahalanobis"), "fusion": "min"},
    "+ Mahalanobis, max": {"backends": (*JOINED, "mahalanobis"), "fusion": "max"},
    "+ Mahalanobis + cosine, mean": {"backends": (*JOINED, "mahalanobis", "cosine"), "fusion": "mean"},
    "max deviation + Mahalanobis, mean": {"backends": ("max_deviation", "mahalanobis"), "fusion": "mean"},
    "max deviation + Mahalanobis, max": {"backends": ("max_deviation", "mahalanobis"), "fusion": "max"},
    "conditional deviations": {"backends": ("conditional",)},
    "conditional + Mahalanobis, mean (standard)": {"preset": "standard"},
    "standardized + Mahalanobis, max": {"backends": ("standardized_knn", "mahalanobis"), "fusion": "max"},
    "cosine + Mahalanobis, max": {"backends": ("cosine", "mahalanobis"), "fusion": "max"},
    "cosine ratio + Mahalanobis, max": {"backends": CLOSE, "fusion": "max", "normalization": "ratio"},
    "cosine ratio + Mahalanobis, mean": {"backends": CLOSE, "fusion": "mean", "normalization": "ratio"},
    "cosine ratio + max deviation + Mahalanobis, mean": {
        "backends": (*CLOSE, "max_deviation"),
        "fusion": "mean",
        "normalization": "ratio",
    },
}
BANDS = {
    "1-NN cosine, BEAM mean": {"preset": "fast", "num_bands": 8},
    "1-NN cosine, BEAM max": {"preset": "fast", "num_bands": 8, "band_fusion": "max"},
}
SLOW = ("1-NN cosine, 16 k-means",)  # on one pooling an encoder only


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(FACTORIES), help="of the factories")
    args = parser.parse_args()
    scores, truth = score_everything(args.work, args.seeds)
    lines = []
    for size in SIZES:
        lines += table(scores, truth, size, args.resamples) + [""]
    (args.work / "scoring_stack.md").write_text("\n".join(lines))
    print("\n".join(lines))
    plot(scores, truth, args.work / "scoring_stack.png")


def score_everything(work: Path, seeds: list[int]) -> tuple[dict, dict]:
    """Scores by (encoder, pooling, system, size), of all test clips in order, and what the test clips are."""
    (work / "scores").mkdir(exist_ok=True)
    scores, truth = {}, {size: [] for size in SIZES}
    for seed in seeds:
        files = sorted(work.glob(f"embeddings/{seed}-*.npz"))
        train, test = rows_of(work, seed)
        machines, domains = np.array(train["machine"][:]), np.array(train["domain"][:])
        tested = np.array(test["machine"][:])
        for size in SIZES:
            truth[size].append(
                (
                    np.array([condition == "anomaly" for condition in test["condition"]]).astype(int),
                    np.array([f"{machine} {seed}" for machine in tested]),
                    np.array(test["domain"][:]),
                )
            )
        for file in tqdm(files, desc=f"factory {seed}"):
            _, encoder, pooling = file.stem.split("-", 2)
            cache = work / "scores" / file.name
            found = dict(np.load(cache)) if cache.exists() else {}
            references, queries = load(work, seed, encoder, pooling)
            for name, options in {**SYSTEMS, **(BANDS if "bands" in pooling else {})}.items():
                if name in SLOW and pooling not in ("mean", "band_statistics"):
                    continue
                for size in SIZES:
                    if f"{size} {name}" not in found:
                        found[f"{size} {name}"] = score_factory(
                            references, queries, machines, domains, tested, size, ScoringConfig(**options)
                        )
            np.savez(cache, **found)
            for key, values in found.items():
                size, name = key.split(" ", 1)
                scores.setdefault((encoder, pooling, name, int(size)), []).append(values)
    joined = {key: np.concatenate(values) for key, values in scores.items()}
    clips = {size: [np.concatenate(part) for part in zip(*parts, strict=True)] for size, parts in truth.items()}
    # Poolings that only some factories have been embedded with are left out.
    joined = {key: values for key, values in joined.items() if len(values) == len(clips[key[3]][0])}
    standard = "conditional + Mahalanobis, mean (standard)"  # its scores are z-scores, which can be averaged
    for size in clips:
        names = sorted({key[0] for key in joined if key[3] == size} - {"statistics"})
        chosen = [("statistics", "band_statistics"), *((name, "mean") for name in names)]
        together = [joined[*pair, standard, size] for pair in chosen if (*pair, standard, size) in joined]
        if len(together) > 1:
            joined["statistics", " + ".join(names), standard, size] = np.mean(together, axis=0)
    return joined, clips


def score_factory(references, queries, machines, domains, tested, size: int, config: ScoringConfig) -> np.ndarray:
    scores = np.empty(len(queries))
    for machine in np.unique(machines):
        rng = np.random.default_rng(0)
        targets = min(10, max(1, size // 10))
        counts = {"source": size - targets, "target": targets}
        banks = {
            domain: references[rng.permutation(np.flatnonzero((machines == machine) & (domains == domain)))[:count]]
            for domain, count in counts.items()
        }
        chosen = tested == machine
        scores[chosen] = make_scorer(banks, config).score(queries[chosen]).numpy()
    return scores


def columns_of(truth: list) -> tuple:
    labels, machines, domains = truth
    return machines, np.full(len(labels), "00"), domains


def table(scores: dict, truth: dict, size: int, resamples: int) -> list[str]:
    """
    Every system of one size, the best first within an embedding. Intervals, and the gain over 1-NN on the mean, are
    bootstrapped in pairs for the best ten and the presets.
    """
    labels, columns = truth[size][0], columns_of(truth[size])
    lines = [
        f"{size} normal clips, {len(np.unique(columns[0]))} machines",
        "",
        "| embedding | pooling | backend | official score | 95 % interval | over 1-NN on the mean | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for encoder in sorted({key[0] for key in scores}):
        keys = [key for key in scores if key[0] == encoder and key[3] == size]
        results = {key: score_table(labels, scores[key], *columns) for key in keys}
        keys.sort(key=lambda key: -results[key]["official_score"])
        plain = (encoder, "mean", "1-NN cosine (fast)", size)
        closer = [key for key in keys if key in keys[:10] or key == plain or key[2].endswith("(standard)")]
        stacked = np.stack([scores[key] for key in closer])
        drawn = dict(
            zip(closer, bootstrap_official_scores(labels, stacked, *columns, resamples=resamples), strict=True)
        )
        for key in keys:
            score = results[key]["official_score"]
            gain = score - results[plain]["official_score"]
            own = between(drawn[key]) if key in drawn else ""
            more = between(drawn[key] - drawn[plain], "+") if key in drawn else ""
            lines.append(
                f"| {encoder} | {key[1]} | {key[2]} | {100 * score:.2f} | {own} | {100 * gain:+.2f} | {more} |"
            )
        by_machine = [[means["official_score"] for means in results[key]["machines"].values()] for key in keys]
        oracle = harmonic_mean(np.max(by_machine, axis=0))
        gain = oracle - results[plain]["official_score"]
        lines.append(f"| {encoder} | | oracle a machine | {100 * oracle:.2f} | | {100 * gain:+.2f} | |")
    return lines


def between(samples: np.ndarray, sign: str = "") -> str:
    low, high = confidence_interval(samples)
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def plot(scores: dict, truth: dict, file: Path):
    """Official score over the number of normal clips, the best pooling of each backend, one panel an embedding."""
    encoders = sorted({key[0] for key in scores})
    figure, axes = plt.subplots(1, len(encoders), figsize=(6 * len(encoders), 5), sharey=True, squeeze=False)
    shown = ("1-NN cosine (fast)", "1-NN cosine, ratio", "maximum deviation", "standardized 1-NN", "Mahalanobis")
    shown += (
        "max deviation + standardized",
        "max deviation + Mahalanobis, max",
        "conditional + Mahalanobis, mean (standard)",
    )
    for encoder, axis in zip(encoders, axes[0], strict=True):
        pooling = "band_statistics" if encoder == "statistics" else "mean"
        for name in shown:
            values = [
                100
                * score_table(truth[size][0], scores[encoder, pooling, name, size], *columns_of(truth[size]))[
                    "official_score"
                ]
                for size in SIZES
            ]
            axis.plot(SIZES, values, marker="o", label=name)
        axis.set(xscale="log", xlabel="normal clips", title=f"{encoder}, {pooling}", xticks=SIZES)
        axis.set_xticklabels(SIZES)
    axes[0, 0].set_ylabel("official score in %")
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
