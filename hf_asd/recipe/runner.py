"""The stages of a recipe in their order, each in a folder of its own that a later run finds again."""

import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets

from .. import __version__
from ..audio.reading import drop_bad_audio
from ..clustering.cluster_names import write_names
from ..clustering.pseudo_attributes import assign_pseudo_attributes
from ..clustering.quality import cluster_quality
from ..clustering.summary import describe_clusters
from ..data.dcase.attributes import load_attribute_truth
from ..data.dcase.loading import load_dcase
from ..data.folder import load_folder
from ..data.schema import attribute_label, read_table, reveal_attributes, write_table
from ..detection.config import DetectorConfig
from ..detection.detector import AnomalyDetector
from ..distributed import broadcast, hardware, partial_state
from ..embedding.embed import embed
from ..embedding.statistics import SpectralStatistics
from ..embedding.transformer import TransformerEncoder
from ..evaluation.scores import evaluate_scores, format_table, labeled_subset
from ..evaluation.submission import write_submission
from ..hub.model_card import record_compute, record_evaluation, record_recipe, render_model_card
from ..reporting.clusters import cluster_report
from ..reporting.report import ReportContent, write_report
from ..simulation.writer import write_factory
from ..training.finetuning import finetune
from ..training.pretraining import pretrain
from .loading import Recipe


# What every stage is made from: its own section of the recipe, and the results of other stages.
UPSTREAM = {
    "data": (),
    "pretrain": ("data",),
    "embed": ("data", "pretrain"),
    "cluster": ("embed",),
    "finetune": ("pretrain", "cluster"),
    "fit": ("cluster", "finetune"),
    "score": ("data", "fit"),
    "evaluate": ("data", "cluster", "score"),
    "report": ("cluster", "fit", "evaluate"),
}
# Stages that all processes work on; the others are done by one while the rest wait.
DISTRIBUTED = ("pretrain", "embed", "finetune", "fit", "score")
BASELINES = {
    "spectral statistics": DetectorConfig(statistics="quantiles"),
    "mean log-mel, nearest neighbor": DetectorConfig(statistics="mean", preset="fast"),
}


def run_recipe(recipe: Recipe, last: str = "report") -> dict[str, Path]:
    """
    Runs a recipe's stages, and of those only what changed: a stage is done again when its section, the data, the
    version of the package, or a stage that it builds on differs. Nothing is deleted.

    Args:
        recipe ([`~hf_asd.recipe.loading.Recipe`]): all sections.
        last (`str`, *optional*, defaults to `"report"`): the last stage to run.

    Returns:
        `dict[str, Path]`: by stage the folder of its results, `<output_dir>/<stage>-<fingerprint>`.

    Raises:
        ValueError: `last` is no stage.
        BadAudioError: recordings cannot be used and `data.on_bad_audio` is `"error"`.
    """
    if last not in UPSTREAM:
        raise ValueError(f"last is {last!r}; accepted are {', '.join(UPSTREAM)}.")
    state = partial_state()
    folders = {}
    for stage in list(UPSTREAM)[: list(UPSTREAM).index(last) + 1]:
        made_from = {"stage": stage, "version": __version__, **_options(recipe, stage)}
        made_from |= {f"upstream {name}": folders[name].name for name in UPSTREAM[stage]}
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()
        folder = Path(recipe.output_dir) / f"{stage}-{digest[:8]}"
        mark = folder / "stage.json"
        done = broadcast(mark.is_file())
        if state.is_main_process:
            print(f"{stage}: {'as before, ' if done else ''}{folder}", flush=True)
            resumed = not done and folder.is_dir()
            folder.mkdir(parents=True, exist_ok=True)
        state.wait_for_everyone()
        if not done:
            started = time.monotonic()
            if stage in DISTRIBUTED or state.is_main_process:
                RUN[stage](recipe, folder, folders)
            if state.is_main_process:
                seconds = round(time.monotonic() - started, 1)
                made_from |= {"seconds": seconds, "device": hardware(), "resumed": resumed}
                _write_json(mark, made_from)  # last: a folder without it is not finished
            state.wait_for_everyone()
        folders[stage] = folder
    return folders


def _options(recipe: Recipe, stage: str) -> dict:
    if stage != "data":
        options = {"options": asdict(getattr(recipe, stage)), "channel": recipe.data.channel}
        if stage == "pretrain":
            options["files"] = [_fingerprint(source.path) for source in recipe.pretrain.datasets]
        if stage == "cluster" and recipe.cluster.names_file is not None:
            options["names"] = Path(recipe.cluster.names_file).read_text(encoding="utf-8-sig")
        return options
    return _data_options(recipe) | ({} if recipe.attributes_file is None else {"attributes": _revealed(recipe)})


def _revealed(recipe: Recipe) -> dict[str, dict[str, str]]:
    return load_attribute_truth(recipe.attributes_file)


def _data_options(recipe: Recipe) -> dict:
    if recipe.factory is not None:
        return {"options": asdict(recipe.factory) | {"num_workers": None}, "on_bad_audio": recipe.data.on_bad_audio}
    return {"options": asdict(recipe.data), "files": _fingerprint(recipe.data.path)}


def _fingerprint(folder: str) -> str:
    """Names, sizes and times of all files in a folder."""
    root = Path(folder)
    files = sorted(file for file in root.rglob("*") if file.is_file())
    listing = [(file.relative_to(root).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _data(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    """Rows of all recordings, checked; the factory is written first where the recipe has one."""
    if recipe.data.year is None:
        dataset = _own_recordings(recipe)
    else:
        source = recipe.data.path if recipe.factory is None else write_factory(recipe.factory, folder / "factory")
        dataset = load_dcase(source, recipe.data.year, machines=recipe.data.machines, cache_dir=folder / "rows")
    checked, skipped = drop_bad_audio(dataset, recipe.data.on_bad_audio, recipe.data.channel)
    if recipe.attributes_file is not None:
        checked["train"] = reveal_attributes(checked["train"], _revealed(recipe))
    for split, rows in checked.items():
        write_table(rows, folder / f"{split}.parquet")
    _write_json(folder / "skipped.json", skipped)


def _own_recordings(recipe: Recipe) -> DatasetDict:
    path, found = recipe.data.path, load_folder(recipe.data.path, on_bad_audio=None)
    learned, tested = (set(found[split]["machine"]) if split in found else set() for split in ("train", "test"))
    wanted = learned | tested if recipe.data.machines is None else set(recipe.data.machines)
    if not learned:
        raise ValueError(f"{path}: holds no normal recordings to learn from.")
    strange = ", ".join(sorted(wanted - learned))
    if strange:
        raise ValueError(
            f"{path}: holds no normal recordings of {strange} to learn from, only of {', '.join(sorted(learned))}. "
            "Add those, or choose machines (data.machines)."
        )
    chosen = DatasetDict()
    for split, rows in found.items():
        kept = [row for row, machine in enumerate(rows["machine"]) if machine in wanted]
        if kept:
            chosen[split] = rows.select(kept)
    return chosen


def _pretrain(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    # Learning without labels, the encoder may also hear a machine without its factory, and the factory without it.
    tables = [folders["data"] / f"{split}.parquet" for split in ("train", "supplemental")]
    rows = [read_table(table) for table in tables if table.is_file()]
    weights = [1.0] * len(rows)
    for number, source in enumerate(recipe.pretrain.datasets):
        table = folder / f"dataset-{number}.parquet"
        if partial_state().is_main_process and not table.is_file():
            own = source.year is None
            found = load_folder(source.path, on_bad_audio=None) if own else load_dcase(source.path, source.year)
            if "train" not in found:
                raise ValueError(f"{source.path} (pretrain.datasets): holds no normal recordings to learn from.")
            found.pop("test", None)
            checked, _ = drop_bad_audio(found, recipe.data.on_bad_audio, recipe.data.channel)
            write_table(concatenate_datasets(list(checked.values())), table)
        partial_state().wait_for_everyone()
        rows.append(read_table(table))
        weights.append(source.weight)
    pretrain(rows, recipe.pretrain, folder, recipe.data.channel, weights)


def _embed(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    encoder = TransformerEncoder.from_pretrained(
        folders["pretrain"] / "encoder", recipe.embed.pooling, layer=recipe.embed.layer
    )
    rows = read_table(folders["data"] / "train.parquet")
    embedded = embed(rows, encoder, folder / "parts", recipe.data.channel)
    if partial_state().is_main_process:
        write_table(embedded, folder / "train.parquet")


def _cluster(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    rows = assign_pseudo_attributes(read_table(folders["embed"] / "train.parquet"), recipe.cluster)
    write_table(rows, folder / "train.parquet")
    write_names(describe_clusters(rows, recipe.cluster), folder / "clusters.csv")
    _write_json(folder / "clusters.json", cluster_report(rows, recipe.cluster))


def _finetune(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    rows = read_table(folders["cluster"] / "train.parquet")
    finetune(rows, folders["pretrain"] / "encoder", recipe.finetune, folder, recipe.data.channel)


def _fit(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    # The embeddings that the clusters were found in come from the encoder before fine-tuning.
    rows = read_table(folders["cluster"] / "train.parquet").remove_columns("embedding")
    encoder = recipe.fit.load_encoder(folders["finetune"] / "encoder")
    embedded = embed(rows, encoder, folder / "parts", recipe.fit.channel)
    if partial_state().is_main_process:
        AnomalyDetector(encoder, recipe.fit).fit(embedded).save_pretrained(folder / "detector")
        write_table(embedded, folder / "train.parquet")


def _score(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    if not (folders["data"] / "test.parquet").is_file():
        return  # own recordings may be normal ones alone
    test = read_table(folders["data"] / "test.parquet")
    main = partial_state().is_main_process
    scored = AnomalyDetector.from_pretrained(folders["fit"] / "detector").score(test, folder / "parts")
    if main:
        write_table(scored, folder / "test.parquet")
        if recipe.data.year is not None:
            write_submission(scored, folder / "submission", recipe.data.year)
    if recipe.score.baselines:
        train = read_table(folders["data"] / "train.parquet")
        for name, config in BASELINES.items():
            config.channel = recipe.data.channel
            parts = folder / name
            detector = AnomalyDetector(SpectralStatistics(config.statistics), config)
            detector.fit(train, parts / "train", with_reasons=False)
            scored = detector.score(test, parts / "test").remove_columns("embedding")
            if main:
                write_table(scored, parts / "test.parquet")


def _labeled(recipe: Recipe, table: Path) -> tuple[Dataset | None, int | None]:
    """The scored clips that something can be measured on, if there are any, and the year whose score is used."""
    if not table.is_file():
        return None, None
    rows, allowed = labeled_subset(read_table(table))
    return (rows if len(rows) else None), recipe.data.year or allowed


def _evaluate(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    options = {"resamples": recipe.evaluate.resamples, "confidence": recipe.evaluate.confidence}
    result, scored = {}, folders["score"]
    rows, year = _labeled(recipe, scored / "test.parquet")
    if rows is not None:
        result = evaluate_scores(rows, year, **options)
        result["baselines"] = {
            name: evaluate_scores(_labeled(recipe, scored / name / "test.parquet")[0], year, **options)
            for name in (BASELINES if recipe.score.baselines else ())
        }
    told = recipe.evaluate.attributes_file
    if told is not None or (recipe.factory is not None and recipe.factory.hidden):
        truth = load_attribute_truth(told or folders["data"] / "factory" / "ground_truth")
        labels = {clip_id: attribute_label(attributes) for clip_id, attributes in truth.items()}
        result["clusters"] = cluster_quality(read_table(folders["cluster"] / "train.parquet"), labels)
    _write_json(folder / "evaluation.json", result)


def _report(recipe: Recipe, folder: Path, folders: dict[str, Path]):
    detector_folder, scored = folders["fit"] / "detector", folders["score"] / "test.parquet"
    detector = AnomalyDetector.from_pretrained(detector_folder)
    rows, year = _labeled(recipe, scored)
    evaluation = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    baselines = evaluation.get("baselines", {})
    content = ReportContent(
        title=recipe.report.title,
        train=read_table(folders["fit"] / "train.parquet"),
        test=read_table(scored) if scored.is_file() else None,
        evaluation=None if rows is None else evaluation,
        baselines=baselines,
        skipped=json.loads((folders["data"] / "skipped.json").read_text()),
        thresholds={machine: bank.threshold for machine, bank in detector.machines.items()},
        leave_one_out={machine: bank.leave_one_out_scores() for machine, bank in detector.machines.items()},
        clusters=json.loads((folders["cluster"] / "clusters.json").read_text()),
        profiles=detector.profiles,
        channel=recipe.data.channel,
    )
    write_report(folder / "report.html", content)
    if rows is not None:
        record_evaluation(
            detector_folder,
            rows,
            year,
            resamples=recipe.evaluate.resamples,
            confidence=recipe.evaluate.confidence,
            baselines=baselines,
        )
    stages = {name: json.loads((path / "stage.json").read_text()) for name, path in folders.items()}
    compute = {
        name: {"seconds": told["seconds"], "device": told["device"], "resumed": told.get("resumed", False)}
        for name, told in stages.items()
        if name in ("pretrain", "embed", "cluster", "finetune", "fit") and "seconds" in told
    }
    record_recipe(detector_folder, asdict(recipe))
    record_compute(detector_folder, compute)
    render_model_card(detector_folder)


RUN = {
    "data": _data,
    "pretrain": _pretrain,
    "embed": _embed,
    "cluster": _cluster,
    "finetune": _finetune,
    "fit": _fit,
    "score": _score,
    "evaluate": _evaluate,
    "report": _report,
}


def summary(folders: dict[str, Path]) -> str:
    """
    What a finished run found: the official scores a machine beside those of the baselines, which machines could not be
    measured, and where the report is.

    Args:
        folders (`dict[str, Path]`): of [`run_recipe`].
    """
    result = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    lines = []
    if "machines" in result:
        lines += [format_table(result), ""]
        systems = {"this recipe": result, **result["baselines"]}
        width = max(map(len, systems)) + 2
        machines = list(result["machines"])
        lines.append("official score in %".ljust(width) + "".join(f"{name:>10.9}" for name in [*machines, "all"]))
        for name, system in systems.items():
            scores = [system["machines"][machine]["official_score"] for machine in machines]
            scores.append(system["official_score"])
            lines.append(name.ljust(width) + "".join(f"{100 * score:10.2f}" for score in scores))
    machines = {machine for table in folders["data"].glob("*.parquet") for machine in read_table(table)["machine"]}
    unmeasured = ", ".join(sorted(machines - set(result.get("machines", {}))))
    if unmeasured:
        lines.append(f"not measured, for lack of test recordings known as normal and as anomalous: {unmeasured}")
    if result.get("clusters"):
        lines += ["", "pseudo-attributes against the true ones (only evaluation knows them)"]
        for machine, quality in result["clusters"].items():
            lines.append(
                f"  {machine:<12} {quality['num_clusters']:3d} clusters, {quality['num_true']:3d} true attributes, "
                f"adjusted Rand index {quality['ari']:.2f}, normalized mutual information {quality['nmi']:.2f}, "
                f"purity {quality['purity']:.2f}"
            )
    if "report" in folders:
        lines += ["", f"detector: {folders['fit'] / 'detector'}", f"report:   {folders['report'] / 'report.html'}"]
    return "\n".join(lines)


def _write_json(path: Path, content: object):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    os.replace(partial, path)
