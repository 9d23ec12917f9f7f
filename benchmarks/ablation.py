"""
How much every stage adds to the official score: detectors without training, frozen encoders, and fine-tuning on
machine labels, true attributes, pseudo-attributes and oracle attributes, over several training seeds. All fine-tuned
systems are trained with the recipe's synthetic faults, except the two whose name says otherwise.

    python benchmarks/ablation.py                                # the factory of recipes/factory, 5 seeds
    python benchmarks/ablation.py --factories 0 1 2 3 --seeds 0  # other machines and faults, one training each
    python benchmarks/ablation.py --small --seeds 0 1            # minutes: a check that it runs; too small for results
    python benchmarks/ablation.py --recipe my.yaml --data.path dcase2025/dev_data --truth dcase2025/truth

Every score is kept in `--output` and not computed again; a run that was stopped continues. Recipe options (`--NAME
VALUE`) override the recipe for all systems. The last column is the score of Ward minus the score of the row: the 95 %
interval of a bootstrap that draws the same factories, clips and seeds for both. Only the system `oracle attributes`
and the table of clusterings read the true attributes of machines that hide them.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from datasets import Dataset
from torch import nn
from tqdm.auto import tqdm
from transformers import set_seed

from hf_asd import (
    AnomalyDetector,
    TransformerEncoder,
    assign_pseudo_attributes,
    embed,
    finetune,
    pretrain,
)
from hf_asd.audio.reading import read_audio
from hf_asd.clustering.quality import cluster_quality
from hf_asd.data.dcase.attributes import load_attribute_truth
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.schema import attribute_label, read_table, write_table
from hf_asd.detection.config import DetectorConfig
from hf_asd.evaluation.scores import evaluate_scores
from hf_asd.files import write_json, write_text
from hf_asd.metrics.bootstrap import bootstrap_official_scores, confidence_interval
from hf_asd.models.eat.feature_extraction_eat import EatFeatureExtractor
from hf_asd.recipe.config import Recipe
from hf_asd.recipe.loading import load_recipe
from hf_asd.simulation.writer import write_factory
from hf_asd.training.pretraining import init_encoder


matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402


STATISTICS = {
    "mean log-mel, nearest neighbor": DetectorConfig(statistics="mean", preset="fast"),
    "spectral statistics": DetectorConfig(),
}
WARD = "+ Ward pseudo-attributes"
FINETUNED = {
    "machine labels only": "machine",
    "true attributes, one label for the rest": "one label",
    "+ k-means pseudo-attributes": "kmeans",
    "+ Gaussian mixture pseudo-attributes": "gmm",
    WARD: "ward",
    "+ Ward, features before adaptation": "ward before",
    "oracle attributes": "oracle",
    "machine labels only, no synthetic faults": "machine plain",
    "+ Ward, no synthetic faults (the paper)": "ward plain",
}
WITH_STATISTICS = " with spectral statistics"
WEIGHTS = (0, 0.1, 0.25, 0.5, 1)  # of an encoder beside spectral statistics
SYSTEMS = (
    *STATISTICS,
    "auto-encoder",
    "frozen encoder",
    "frozen adapted encoder",
    "frozen adapted encoder" + WITH_STATISTICS,
    *FINETUNED,
    WARD + WITH_STATISTICS,
)
SMALL = [
    "--factory.num_source_train=95",
    "--factory.num_target_train=5",
    "--factory.num_test=15",
    "--factory.clip_seconds=5",
    "--pretrain.model.hidden_size=96",
    "--pretrain.model.num_hidden_layers=3",
    "--pretrain.model.intermediate_size=384",
    "--pretrain.max_steps=80",
    "--finetune.max_steps=100",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/factory"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of training")
    parser.add_argument("--factories", type=int, nargs="+", help="seeds of factories (default: the one of the recipe)")
    parser.add_argument("--small", action="store_true", help="a factory and a model for a check of a few minutes")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), help="only these", choices=SYSTEMS)
    parser.add_argument("--truth", type=Path, help="true attributes of hidden machines; the factory has its own")
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--resamples", type=int, default=1000)
    args, overrides = parser.parse_known_args()
    output = args.output.with_name(args.output.name + "-small") if args.small else args.output
    recipe = load_recipe(args.recipe, [*(SMALL if args.small else []), *overrides])
    if args.factories and recipe.factory is None:
        raise SystemExit(f"--factories needs a recipe with a factory; {args.recipe} names recordings.")
    places = {output: recipe}
    if args.factories:
        places = {
            output / f"factory-{seed}": replace(recipe, factory=replace(recipe.factory, seed=seed))
            for seed in args.factories
        }
    tables = []
    for place, its_recipe in places.items():
        check_same_options(place, its_recipe)
        data = load_data(its_recipe, place, args.truth)
        tables.append(
            [[scored_rows(system, its_recipe, seed, place, *data) for system in args.systems] for seed in args.seeds]
        )
    write_results(output, args.systems, tables, list(places), recipe, args.resamples)


def scored_rows(
    system: str, recipe: Recipe, seed: int, place: Path, train: Dataset, test: Dataset, truth: dict
) -> Dataset:
    """The rows that `score` gives, from the file of an earlier run where there is one."""
    folder = place / (f"seed-{seed}" if system not in STATISTICS else "any-seed")
    file = folder / "scores" / f"{system}.parquet"
    if not file.is_file():
        print(f"{place}, seed {seed}: {system}", flush=True)
        write_table(score(system, recipe, seed, folder, train, test, truth), file)
    return read_table(file)


def check_same_options(output: Path, recipe: Recipe):
    """Stops where a folder holds scores that were computed with other options."""
    file, options = output / "options.txt", repr(replace(recipe, output_dir="", seed=0))
    if file.is_file() and file.read_text() != options:
        raise SystemExit(f"{output} holds scores that were computed with other options; give another --output.")
    write_text(file, options)


def load_data(recipe: Recipe, output: Path, truth: Path | None) -> tuple[Dataset, Dataset, dict[str, str]]:
    source = recipe.data.path if recipe.factory is None else write_factory(recipe.factory, output / "factory")
    if recipe.factory is not None:
        truth = output / "factory" / "ground_truth"
    splits = load_dcase(source, recipe.data.year, cache_dir=output / "rows")
    attributes = load_attribute_truth(truth) if truth is not None else {}
    labels = {clip_id: attribute_label(values) for clip_id, values in attributes.items()}
    return splits["train"], splits["test"], labels


def score(system: str, recipe: Recipe, seed: int, folder: Path, train: Dataset, test: Dataset, truth: dict) -> Dataset:
    """The test rows with an `anomaly_score` each."""
    if system in STATISTICS:
        encoder, config = None, STATISTICS[system]
    elif system == "auto-encoder":
        return auto_encoder(recipe, seed, train, test)
    else:
        if system.startswith("frozen adapted"):
            encoder = adapted(recipe, seed, folder, train)
        elif system == "frozen encoder":
            encoder = before(recipe, seed, folder, train)
        else:
            encoder = fine_tuned(FINETUNED[system.removesuffix(WITH_STATISTICS)], recipe, seed, folder, train, truth)
        pooling = recipe.finetune.pooling if system.startswith("frozen") else None  # a fine-tuned encoder has its own
        config = replace(recipe.fit, pooling=pooling, with_statistics=system.endswith(WITH_STATISTICS))
    parts = folder / "embeddings" / system
    detector = AnomalyDetector(encoder, config).fit(train, parts / "train")
    return detector.score(test, parts / "test", check_input=False).remove_columns("embedding")


def before(recipe: Recipe, seed: int, folder: Path, train: Dataset) -> str:
    """The encoder before domain-adaptive pre-training: the one that the recipe names, or random weights."""
    if recipe.pretrain.encoder is not None:
        return recipe.pretrain.encoder
    path = folder / "before"
    if not (path / "preprocessor_config.json").is_file():
        set_seed(seed)
        model, extractor = init_encoder(replace(recipe.pretrain, seed=seed), train, recipe.data.channel)
        model.save_pretrained(path)
        extractor.save_pretrained(path)
    return str(path)


def adapted(recipe: Recipe, seed: int, folder: Path, train: Dataset) -> Path:
    return pretrain(train, replace(recipe.pretrain, seed=seed), folder / "pretrain", recipe.data.channel)


def fine_tuned(labels: str, recipe: Recipe, seed: int, folder: Path, train: Dataset, truth: dict) -> Path:
    """The classifier that learned from these labels; all start from the same adapted encoder."""
    encoder = adapted(recipe, seed, folder, train)
    rows = labeled(labels.removesuffix(" plain"), recipe, seed, folder, train, truth, encoder)
    plain = {"fault_probability": 0.0} if labels.endswith(" plain") else {}
    config = replace(recipe.finetune, seed=seed, **plain)
    return finetune(rows, encoder, config, folder / "finetune" / labels, recipe.data.channel)


def labeled(
    labels: str, recipe: Recipe, seed: int, folder: Path, train: Dataset, truth: dict, encoder: Path
) -> Dataset:
    known, count = train["attribute_label"][:], len(train)
    if labels == "machine":
        plain = train.remove_columns("attribute_label").add_column("attribute_label", ["all"] * count)
        return plain.add_column("pseudo_attribute", ["all"] * count)
    if labels == "one label":
        return train.add_column("pseudo_attribute", [None if label is not None else "all" for label in known])
    if labels == "oracle":
        missing = [i for i, label in enumerate(known) if label is None and train["clip_id"][i] not in truth]
        if missing:
            raise SystemExit(f"--truth lacks {len(missing)} clips such as {train['clip_id'][missing[0]]}.")
        oracle = [
            truth[clip_id] if label is None else None for clip_id, label in zip(train["clip_id"], known, strict=True)
        ]
        return train.add_column("pseudo_attribute", oracle)
    method, _, where = labels.partition(" ")
    path = before(recipe, seed, folder, train) if where == "before" else encoder
    embedded = embed(
        train,
        TransformerEncoder.from_pretrained(path, recipe.embed.pooling, layer=recipe.embed.layer),
        folder / "embeddings" / f"to cluster{' before' if where else ''}",
        recipe.data.channel,
    )
    rows = assign_pseudo_attributes(embedded, replace(recipe.cluster, method=method, seed=seed))
    if truth:
        (folder / "clusters").mkdir(exist_ok=True)
        (folder / "clusters" / f"{labels}.json").write_text(json.dumps(cluster_quality(rows, truth)))
    return rows.remove_columns("embedding")


class AutoEncoder(nn.Sequential):
    """As in the organizers' baseline: five frames of log-mel through a bottleneck of eight, 128 units a layer."""

    def __init__(self, inputs: int):
        sizes = (inputs, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        layers = []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        super().__init__(*layers, nn.Linear(128, inputs))


def auto_encoder(recipe: Recipe, seed: int, train: Dataset, test: Dataset, frames: int = 5) -> Dataset:
    """
    A machine's reconstruction error, as in the baseline of DCASE Task 2 (own implementation, its sizes; five times as
    many steps as fine-tuning takes).
    """
    extractor = EatFeatureExtractor(do_normalize=False)

    def stacked(row: dict) -> torch.Tensor:
        clip = torch.from_numpy(read_audio(row["audio"], channel=recipe.data.channel))
        return extractor.log_mel(clip[None])[0].unfold(0, frames, 1).flatten(1)

    machines, scores = np.array(test["machine"][:]), np.empty(len(test))
    for machine in tqdm(sorted(set(machines)), desc="auto-encoders"):
        set_seed(seed)
        own = train.select(np.flatnonzero(np.array(train["machine"][:]) == machine))
        # Every second stack: neighbors share four of five frames.
        vectors = torch.cat([stacked(row)[::2] for row in own])
        mean, std = vectors.mean(0), vectors.std(0).clamp_min(1e-3)  # a band below the first bin is constant
        model = AutoEncoder(vectors.shape[1]).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(5 * recipe.finetune.max_steps):
            batch = (vectors[torch.randint(len(vectors), (256,))] - mean) / std
            optimizer.zero_grad()
            nn.functional.mse_loss(model(batch), batch).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            for place in np.flatnonzero(machines == machine):
                clip = (stacked(test[int(place)]) - mean) / std
                scores[place] = nn.functional.mse_loss(model(clip), clip).item()
    return test.add_column("anomaly_score", scores.tolist())


def write_results(
    output: Path,
    systems: list[str],
    tables: list[list[list[Dataset]]],
    places: list[Path],
    recipe: Recipe,
    resamples: int,
):
    """Table, intervals and plot of the scored rows by factory, seed and system."""
    samples = np.array([resampled(by_seed, recipe, resamples, number) for number, by_seed in enumerate(tables)])
    factories, seeds = samples.shape[:2]
    # Factories and seeds are drawn like the clips.
    generator, drawn = np.random.default_rng(0), np.arange(resamples)[:, None, None]
    which_seed = generator.integers(0, seeds, (resamples, factories, seeds))
    which_factory = generator.integers(0, factories, (resamples, factories))[:, :, None]
    samples = samples[which_factory, which_seed, :, drawn].mean((1, 2)).T  # of shape (systems, resamples)

    terms = ("official_score", "auc_source", "auc_target", "pauc")
    names, over = " | ".join(term.replace("_", " ") for term in terms), "seeds" if factories == 1 else "factories"
    lines = [f"| system | {names} | std over {over} | Ward minus it |"]
    lines.append("|---|" + "---|" * (len(terms) + 2))
    figures = {}
    for number, system in enumerate(systems):
        results = [[evaluate_scores(rows[number], recipe.data.year) for rows in by_seed] for by_seed in tables]
        figure = {term: float(np.mean([[one[term] for one in row] for row in results])) for term in terms}
        figure["scores"] = [[one["official_score"] for one in row] for row in results]  # by factory and seed
        single = figure["scores"][0] if factories == 1 else np.mean(figure["scores"], 1)
        figure["std"] = float(np.std(single, ddof=min(1, len(single) - 1)))
        figure["interval"] = confidence_interval(samples[number])
        cell = ""
        if WARD in systems and system != WARD:
            difference = samples[systems.index(WARD)] - samples[number]
            figure["ward_minus_it"] = confidence_interval(difference)
            low, high = figure["ward_minus_it"]
            cell = f"{100 * low:+.1f} to {100 * high:+.1f}"
        figures[system] = figure
        lines.append(
            f"| {system} | {' | '.join(f'{100 * figure[term]:.2f}' for term in terms)} | {100 * figure['std']:.2f} | "
            f"{cell} |"
        )
    lines += ["", *weight_lines(systems, tables, recipe), "", *clustering_lines(places)]
    write_text(output / "ablation.md", "\n".join(lines) + "\n")
    write_json(output / "ablation.json", figures)
    plot(figures, output / "ablation.png")
    print("\n".join(lines))
    print(f"\n{output / 'ablation.md'}, {output / 'ablation.json'}, {output / 'ablation.png'}")


def resampled(by_seed: list[list[Dataset]], recipe: Recipe, resamples: int, number: int) -> np.ndarray:
    """Official scores of one factory's resampled test sets, of shape `(seeds, systems, resamples)`."""
    first = by_seed[0][0]
    where = [np.array(first[name][:]) for name in ("machine", "section", "domain")]
    labels = (np.array(first["condition"][:]) == "anomaly").astype(int)
    scores = np.array([rows["anomaly_score"][:] for systems in by_seed for rows in systems])
    year = recipe.data.year
    samples = bootstrap_official_scores(labels, scores, *where, year, resamples=resamples, seed=number)
    return samples.reshape(len(by_seed), -1, resamples)


def weight_lines(systems: list[str], tables: list[list[list[Dataset]]], recipe: Recipe) -> list[str]:
    """The official score of z-scores of spectral statistics and, by each weight, of Ward's encoder, added."""
    if not {"spectral statistics", WARD} <= set(systems):
        return []
    means = []
    for weight in WEIGHTS:
        scores = []
        for rows in (rows for by_seed in tables for rows in by_seed):
            first, second = (rows[systems.index(name)] for name in ("spectral statistics", WARD))
            added = np.array(first["z_score"][:]) + weight * np.array(second["z_score"][:])
            joined = first.remove_columns("anomaly_score").add_column("anomaly_score", added.tolist())
            scores.append(evaluate_scores(joined, recipe.data.year)["official_score"])
        means.append(f"{100 * np.mean(scores):.2f}")
    return [
        f"| weight of its encoder beside spectral statistics | {' | '.join(f'{weight:g}' for weight in WEIGHTS)} |",
        "|---|" + "---|" * len(WEIGHTS),
        f"| official score | {' | '.join(means)} |",
    ]


def clustering_lines(places: list[Path]) -> list[str]:
    """Clusters against the true attributes, means over machines, seeds and factories."""
    lines = ["| clustering | clusters | true | ARI | AMI | NMI | purity |", "|---|---|---|---|---|---|---|"]
    for labels in FINETUNED.values():
        files = [file for place in places for file in place.glob(f"seed-*/clusters/{labels}.json")]
        rows = [quality for file in files for quality in json.loads(file.read_text()).values()]
        if rows:
            mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
            counts = f"{mean['num_clusters']:.1f} | {mean['num_true']:.1f}"
            lines.append(
                f"| {labels} | {counts} | {' | '.join(f'{mean[n]:.2f}' for n in ('ari', 'ami', 'nmi', 'purity'))} |"
            )
    return lines if len(lines) > 2 else []


def plot(figures: dict, path: Path):
    """Official scores with their intervals, one row a system."""
    names = list(figures)[::-1]
    values = 100 * np.array([figures[name]["official_score"] for name in names])
    ends = 100 * np.array([figures[name]["interval"] for name in names])
    figure, axes = pyplot.subplots(figsize=(7, 0.35 * len(names) + 1), layout="constrained")
    colors = ["#D55E00" if name == WARD else "#0072B2" for name in names]
    axes.hlines(range(len(names)), ends[:, 0], ends[:, 1], color=colors)
    axes.scatter(values, range(len(names)), color=colors, zorder=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("official score in %, with 95 % intervals")
    axes.axvline(50, color="#DFE4E8", zorder=0)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
