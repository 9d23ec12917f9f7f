"""
The stages of a recipe, each a function.

Every stage is called with the recipe, its own folder, and `folders`, the folders of the stages before it by name. What
a later stage reads lies in that folder as tables of the schema (`train.parquet`, `test.parquet`), models or JSON.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from ..audio.log_mel_store import LogMelStore, open_log_mels, write_log_mels
from ..clustering.asdkit_labels import write_asdkit_labels
from ..clustering.cluster_names import write_names
from ..clustering.pseudo_attributes import PSEUDO_ATTRIBUTE_FEATURES, assign_pseudo_attributes
from ..clustering.quality import cluster_quality
from ..clustering.summary import describe_clusters
from ..data.checking import drop_bad_audio
from ..data.dcase.attributes import load_attribute_truth
from ..data.dcase.loading import load_dcase
from ..data.folder import load_folder, read_folder
from ..data.schema import attribute_label, read_table, reveal_attributes, side_by_side, without_attributes, write_table
from ..detection.config import DetectorConfig
from ..detection.detector import AnomalyDetector
from ..distributed import partial_state
from ..embedding.embed import embed
from ..embedding.transformer import TransformerEncoder
from ..evaluation.scores import evaluate_scores, labeled_subset
from ..evaluation.submission import write_submission
from ..files import read_json, whole_folder, write_json
from ..hub.model_card import record_compute, record_evaluation, record_recipe, render_model_card
from ..models.eat.feature_extraction_eat import EatFeatureExtractor
from ..reporting.clusters import cluster_report
from ..reporting.report import ReportContent, write_report
from ..simulation.writer import write_factory
from ..training.finetuning import finetune
from ..training.pretraining import pretrain
from .config import Recipe, StageName


logger = logging.getLogger(__name__)
LOG_MELS = "log_mel"  # a folder of the data stage
LOG_MEL_EXTRACTOR = EatFeatureExtractor()  # spectral statistics start from the same log energies
BASELINES = {
    "spectral statistics": DetectorConfig(statistics="band_statistics"),
    "mean log-mel, nearest neighbor": DetectorConfig(statistics="mean", preset="fast"),
}


def load_data(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: recordings in `data.path`, or the options of the factory, which is written to `factory/` first.
    Out: a table for each split with the usable recordings, `skipped.json`, a message for each unusable one, and
    `log_mel/`, the log energies of recordings.
    """
    problems: list[str] = []
    if recipe.data.year is None:
        dataset, problems = _own_recordings(recipe)
    else:
        source = recipe.data.path if recipe.factory is None else write_factory(recipe.factory, folder / "factory")
        assert source is not None  # the recipe has checked it
        dataset = load_dcase(source, recipe.data.year, machines=recipe.data.machines, cache_dir=folder / "rows")
    channel = recipe.data.channel
    with write_log_mels(folder / LOG_MELS, LOG_MEL_EXTRACTOR, channel, recipe.data.log_mel_gb) as kept:
        checked, skipped = drop_bad_audio(dataset, recipe.data.on_bad_audio, channel, kept.add)
    if recipe.attributes_file is not None:
        checked["train"] = reveal_attributes(checked["train"], load_attribute_truth(recipe.attributes_file))
    for split, rows in checked.items():
        write_table(rows, folder / f"{split}.parquet")
    write_json(folder / "skipped.json", [*problems, *skipped])


def _log_mels(folders: dict[str, Path]) -> LogMelStore | None:
    return open_log_mels(folders["data"] / LOG_MELS)


def _own_recordings(recipe: Recipe) -> tuple[DatasetDict, list[str]]:
    """The recordings of the wanted machines, and a message for everything that could not be opened."""
    path = recipe.data.path
    assert path is not None  # the recipe has checked it
    content = read_folder(path, on_bad_audio=recipe.data.on_bad_audio)
    logger.info("\n".join(content.summary.lines()))
    found = content.dataset
    trained, tested = (set(found[split]["machine"]) if split in found else set() for split in ("train", "test"))
    wanted = trained | tested if recipe.data.machines is None else set(recipe.data.machines)
    if not trained:
        raise ValueError(f"{path}: holds no normal recordings to learn from.")
    missing = ", ".join(sorted(wanted - trained))
    if missing:
        raise ValueError(
            f"{path}: holds no normal recordings of {missing} to learn from, only of {', '.join(sorted(trained))}. "
            "Add those, or choose machines (data.machines)."
        )
    chosen = DatasetDict()
    for split, rows in found.items():
        kept = [row for row, machine in enumerate(rows["machine"]) if machine in wanted]
        if kept:
            chosen[split] = rows.select(kept)
    return chosen, content.summary.problems


def pretrain_encoder(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: training clips, supplemental ones included, and those of `pretrain.datasets`.
    Out: `encoder/`, the pre-trained encoder; where this stage is skipped, a copy of `pretrain.encoder`.
    """
    if "pretrain" in recipe.skip:
        _copy_encoder(recipe.pretrain.encoder, folder / "encoder")
        return
    # Without labels, clips of a machine without its factory, and of the factory without the machine, are useful too.
    tables = [folders["data"] / f"{split}.parquet" for split in ("train", "supplemental")]
    rows = [read_table(table) for table in tables if table.is_file()]
    weights = [1.0] * len(rows)
    for number, source in enumerate(recipe.pretrain.datasets):
        table = folder / f"dataset-{number}.parquet"
        if partial_state().is_main_process and not table.is_file():
            found = (
                load_folder(source.path, on_bad_audio=recipe.data.on_bad_audio)
                if source.year is None
                else load_dcase(source.path, source.year)
            )
            if "train" not in found:
                raise ValueError(f"{source.path} (pretrain.datasets): holds no normal recordings to learn from.")
            found.pop("test", None)
            checked, _ = drop_bad_audio(found, recipe.data.on_bad_audio, recipe.data.channel)
            write_table(concatenate_datasets(list(checked.values())), table)
        partial_state().wait_for_everyone()
        rows.append(read_table(table))
        weights.append(source.weight)
    log_mels = _log_mels(folders)
    pretrain(rows, recipe.pretrain, folder, recipe.data.channel, weights, log_mels)


def _copy_encoder(encoder: str | None, folder: Path) -> None:
    assert encoder is not None  # the recipe has checked it
    if partial_state().is_main_process and not folder.is_dir():
        loaded = TransformerEncoder.from_pretrained(encoder)
        with whole_folder(folder) as partial:
            loaded.save_pretrained(partial)
    partial_state().wait_for_everyone()


def embed_clips(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: training clips and the pre-trained encoder.
    Out: `train.parquet`, the training clips without attributes, with `embedding`; others are not clustered.
    """
    encoder = TransformerEncoder.from_pretrained(
        folders["pretrain"] / "encoder",
        recipe.embed.pooling,
        layer=recipe.embed.layer,
        pooling_parameter=recipe.embed.pooling_parameter,
        precision=recipe.embed.precision,
    )
    rows = read_table(folders["data"] / "train.parquet")
    rows, log_mels = rows.select(without_attributes(rows)), _log_mels(folders)
    embedded = embed(rows, encoder, folder / "parts", recipe.data.channel, log_mels=log_mels)
    if partial_state().is_main_process:
        write_table(embedded, folder / "train.parquet")


def assign_clusters(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: training clips, and those without attributes with embeddings.
    Out: `clustered.parquet`, the clips without attributes with embeddings and pseudo-attributes; `train.parquet`, all
    training clips, with the pseudo-attributes; `clusters.csv`, in which clusters can be named; and for a challenge
    year `asdkit_labels.json`, all classes as ASDKit reads them.
    """
    clustered = assign_pseudo_attributes(read_table(folders["embed"] / "train.parquet"), recipe.cluster)
    write_table(clustered, folder / "clustered.parquet")
    write_names(describe_clusters(clustered, recipe.cluster), folder / "clusters.csv")
    rows = read_table(folders["data"] / "train.parquet")
    columns = {}
    for name in PSEUDO_ATTRIBUTE_FEATURES:
        values = np.full(len(rows), None, dtype=object)
        values[without_attributes(rows)] = clustered[name][:]
        columns[name] = values.tolist()
    rows = side_by_side(rows, Dataset.from_dict(columns, features=PSEUDO_ATTRIBUTE_FEATURES))
    write_table(rows, folder / "train.parquet")
    if recipe.data.year is not None:
        write_asdkit_labels(rows, folder / "asdkit_labels.json", recipe.data.year)


def finetune_encoder(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: the pre-trained encoder, and training clips with attributes or pseudo-attributes.
    Out: `encoder/`, the fine-tuned attribute classifier; nothing where this stage is skipped.
    """
    if "finetune" in recipe.skip:
        return
    rows = read_table(folders["cluster"] / "train.parquet")
    log_mels = _log_mels(folders)
    finetune(rows, folders["pretrain"] / "encoder", recipe.finetune, folder, recipe.data.channel, log_mels)


def fit_detector(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: training clips and the fine-tuned encoder, or the pre-trained one where fine-tuning is skipped.
    Out: `detector/`, and `train.parquet`, the training clips with the embeddings that the detector compares.
    """
    rows = read_table(folders["cluster"] / "train.parquet")
    encoder = recipe.fit.load_encoder(folders["pretrain" if "finetune" in recipe.skip else "finetune"] / "encoder")
    log_mels = _log_mels(folders)
    embedded = embed(rows, encoder, folder / "parts", recipe.fit.channel, log_mels=log_mels)
    if partial_state().is_main_process:
        AnomalyDetector(encoder, recipe.fit).fit(embedded).save_pretrained(folder / "detector")
        write_table(embedded, folder / "train.parquet")


def score_clips(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: test clips and the detector.
    Out: `test.parquet`, the test clips with scores and decisions; `submission/` for a challenge year; a folder for
    each baseline with its own `test.parquet`. Nothing where there are no test clips.
    """
    if not (folders["data"] / "test.parquet").is_file():
        return  # a folder of own recordings may hold only normal ones
    test = read_table(folders["data"] / "test.parquet")
    main = partial_state().is_main_process
    # The challenge asks for a decision about every clip, and about the whole of it: embeddings are not refused.
    detector = AnomalyDetector.from_pretrained(folders["fit"] / "detector")
    log_mels = _log_mels(folders)
    embedded = embed(test, detector.encoder, folder / "parts", detector.config.channel, log_mels=log_mels)
    if main:
        scored = detector.score(embedded)
        write_table(scored, folder / "test.parquet")
        if recipe.data.year is not None:
            write_submission(scored, folder / "submission", recipe.data.year)
    if recipe.score.baselines:
        train = read_table(folders["data"] / "train.parquet")
        for name, config in BASELINES.items():
            parts, channel = folder / name, recipe.data.channel
            detector = AnomalyDetector(None, replace(config, channel=channel))
            normal = embed(train, detector.encoder, parts / "train", channel, log_mels=log_mels)
            embedded = embed(test, detector.encoder, parts / "test", channel, log_mels=log_mels)
            if main:
                scored = detector.fit(normal, with_reasons=False).score(embedded).remove_columns("embedding")
                write_table(scored, parts / "test.parquet")


def evaluate_scored(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: scored test clips, those of baselines included, and clusters.
    Out: `evaluation.json` with official scores, those of baselines, and, where true attributes are known, the quality
    of the clusters; empty where nothing can be measured.
    """
    options = {"resamples": recipe.evaluate.resamples, "confidence": recipe.evaluate.confidence}
    names = BASELINES if recipe.score.baselines else ()
    result, labeled = {}, _labeled(recipe, folders["score"] / "test.parquet")
    if labeled is not None:
        result = evaluate_scores(*labeled, **options)
        baselines = {name: _labeled(recipe, folders["score"] / name / "test.parquet") for name in names}
        result["baselines"] = {name: evaluate_scores(*rows, **options) for name, rows in baselines.items() if rows}
    truth_file = recipe.evaluate.attributes_file
    if truth_file is not None or (recipe.factory is not None and recipe.factory.hidden):
        truth = load_attribute_truth(truth_file or folders["data"] / "factory" / "ground_truth")
        labels = {clip: label for clip, attributes in truth.items() if (label := attribute_label(attributes))}
        result["clusters"] = cluster_quality(read_table(folders["cluster"] / "train.parquet"), labels)
    write_json(folder / "evaluation.json", result)


def _labeled(recipe: Recipe, table: Path) -> tuple[Dataset, int] | None:
    """The scored clips on which something can be measured, if there are any, and the year that defines the score."""
    if not table.is_file():
        return None
    rows, allowed = labeled_subset(read_table(table))
    return (rows, recipe.data.year or allowed) if len(rows) else None


def write_results(recipe: Recipe, folder: Path, folders: dict[str, Path]) -> None:
    """
    In: everything that the stages before found.
    Out: `report.html`; in the detector's folder its evaluation, its recipe, what it took to make it, and its card.
    """
    detector_folder, scored = folders["fit"] / "detector", folders["score"] / "test.parquet"
    detector = AnomalyDetector.from_pretrained(detector_folder)
    labeled = _labeled(recipe, scored)
    evaluation = read_json(folders["evaluate"] / "evaluation.json")
    baselines = evaluation.get("baselines", {})
    write_report(
        folder / "report.html",
        ReportContent(
            title=recipe.report.title,
            train=read_table(folders["fit"] / "train.parquet"),
            test=read_table(scored) if scored.is_file() else None,
            evaluation=None if labeled is None else evaluation,
            skipped=read_json(folders["data"] / "skipped.json"),
            detector=detector,
            baselines=baselines,
            clusters=cluster_report(read_table(folders["cluster"] / "clustered.parquet"), recipe.cluster),
        ),
    )
    if labeled is not None:
        options = {"resamples": recipe.evaluate.resamples, "confidence": recipe.evaluate.confidence}
        record_evaluation(detector_folder, *labeled, **options, baselines=baselines)
    record_recipe(detector_folder, asdict(recipe))
    record_compute(detector_folder, _compute(folders))
    render_model_card(detector_folder)


def _compute(folders: dict[str, Path]) -> dict[str, dict]:
    """Seconds and device of the stages that made the detector."""
    compute = {}
    for name in ("pretrain", "embed", "cluster", "finetune", "fit"):
        record = read_json(folders[name] / "stage.json")
        if "seconds" in record:
            compute[name] = {key: record[key] for key in ("seconds", "device", "resumed")}
    return compute


@dataclass(frozen=True)
class Stage:
    """
    How a stage is run, and what its result follows from besides its section of the recipe.

    Args:
        run (`Callable`): the function; called with the recipe, the stage's folder and the folders of other stages.
        sources (`tuple[str, ...]`): packages and modules of `hf_asd` whose code the result follows from.
        upstream (`tuple[str, ...]`): the stages whose results it reads.
        is_distributed (`bool`): whether all processes work on it; else one does while the others wait.
    """

    run: Callable[[Recipe, Path, dict[str, Path]], None]
    sources: tuple[str, ...]
    upstream: tuple[StageName, ...] = ()
    is_distributed: bool = False


_ENCODER = ("audio", "data", "distributed", "embedding", "hub_errors", "models", "threads")
_DETECTOR = (*_ENCODER, "detection", "folders")
_MEASURED = ("audio", "clustering", "data", "evaluation", "metrics")
STAGES: dict[StageName, Stage] = {
    "data": Stage(load_data, ("audio", "data", "simulation", "threads")),
    "pretrain": Stage(pretrain_encoder, (*_ENCODER, "training"), ("data",), is_distributed=True),
    "embed": Stage(embed_clips, _ENCODER, ("data", "pretrain"), is_distributed=True),
    "cluster": Stage(assign_clusters, ("clustering", "data"), ("data", "embed")),
    "finetune": Stage(finetune_encoder, (*_ENCODER, "training"), ("pretrain", "cluster"), is_distributed=True),
    "fit": Stage(fit_detector, _DETECTOR, ("pretrain", "cluster", "finetune"), is_distributed=True),
    "score": Stage(score_clips, (*_DETECTOR, "evaluation", "metrics"), ("data", "fit"), is_distributed=True),
    "evaluate": Stage(evaluate_scored, _MEASURED, ("data", "cluster", "score")),
    "report": Stage(
        write_results, (*_DETECTOR, *_MEASURED, "hub", "plotting", "reporting"), ("cluster", "fit", "evaluate")
    ),
}
