"""
How well embeddings separate the hidden attributes of machines, before and after pre-training.

    python benchmarks/attributes.py WORK                                    # five seeds of the quickstart's encoder
    python benchmarks/attributes.py WORK --seeds 0 --pretrain.max_steps 50  # other options of pre-training

The recipe's factory is written once and used by every seed; a seed changes weights, crops and masks. Where attributes
are hidden they come from the factory's own list, which only this comparison reads. Two figures of the training clips,
means over machines: how often the nearest other clip has the same attributes (cosine), and the adjusted Rand index of
Ward clusters at the true number of attributes (unit vectors). For comparison the same for features without training. A
second call continues where the first stopped.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from transformers import set_seed

from hf_asd import SpectralStatistics, TransformerEncoder, embed
from hf_asd.data.dcase.attributes import load_attribute_truth
from hf_asd.data.schema import attribute_label, read_table
from hf_asd.embedding.embed import get_embeddings
from hf_asd.models.eat.configuration_eat import EatConfig
from hf_asd.models.eat.modeling_eat import EatModel
from hf_asd.models.encoders import load_feature_extractor
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.runner import run_recipe


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", default="recipes/factory")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of pre-training")
    args, overrides = parser.parse_known_args()
    overrides += ["--output_dir", str(args.work)]

    found = {}
    for seed in args.seeds:
        recipe = load_recipe(args.recipe, [*overrides, "--pretrain.seed", str(seed)])
        folders = run_recipe(recipe, "pretrain")
        rows = read_table(folders["data"] / "train.parquet")
        truth = load_attribute_truth(folders["data"] / "factory")
        if not found:
            for name in ("mean", "band_statistics"):
                described = get_embeddings(embed(rows, SpectralStatistics(name))).numpy()
                found[f"log-mel, {name}"] = [separation(described, rows, truth)]
                if name == "mean":  # the level of a clip also depends on the distance of the microphone
                    level = described.mean(1, keepdims=True)
                    found["log-mel, mean less the clip's level"] = [separation(described - level, rows, truth)]
        set_seed(seed)
        fresh = EatModel(EatConfig(**recipe.pretrain.model))
        learned = folders["pretrain"] / "encoder"
        before = TransformerEncoder(fresh, load_feature_extractor(learned), recipe.embed.pooling)
        after = TransformerEncoder.from_pretrained(learned, recipe.embed.pooling)
        for name, encoder in {"encoder, random weights": before, "encoder, pre-trained": after}.items():
            cache = args.work / "embedded" / f"{folders['pretrain'].name}-{name}"
            embedded = get_embeddings(embed(rows, encoder, cache)).numpy()
            found.setdefault(name, []).append(separation(embedded, rows, truth))
        print(f"after seed {seed}\n{table(found)}\n", flush=True)


def separation(embeddings: np.ndarray, rows, truth: dict[str, dict[str, str]]) -> dict[str, tuple[float, float]]:
    """Nearest-neighbor accuracy and adjusted Rand index by machine."""
    machines = np.array(rows["machine"][:])
    clips = rows["clip_id"][:]
    given = rows["attribute_label"][:]
    labels = np.array([label or attribute_label(truth[clip]) for clip, label in zip(clips, given, strict=True)])
    result = {}
    for machine in np.unique(machines):
        chosen = machines == machine
        points, own = embeddings[chosen], labels[chosen]
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        nearest = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points, return_distance=False)[:, 1]
        clusters = AgglomerativeClustering(len(np.unique(own)), linkage="ward").fit_predict(points)
        result[str(machine)] = (np.mean(own[nearest] == own), adjusted_rand_score(own, clusters))
    return result


def table(found: dict[str, list[dict]]) -> str:
    lines = [f"{'':<42}{'nearest neighbor':>18}{'spread':>8}{'ARI':>8}{'spread':>8}"]
    for name, runs in found.items():
        means = np.array([np.mean(list(run.values()), axis=0) for run in runs])
        (accuracy, index), (first, second) = means.mean(0), means.std(0)
        lines.append(f"{name:<42}{accuracy:18.3f}{first:8.3f}{index:8.3f}{second:8.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
