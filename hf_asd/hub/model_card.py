"""The card of a detector, from the project's template: every number in it is read from the detector's own files."""

import json
import os
from pathlib import Path

import yaml
from datasets import Dataset
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.utils import validate_repo_id

from ..audio.reading import SAMPLING_RATE
from ..data.schema import write_table
from ..detection.detector import AnomalyDetector
from ..embedding.statistics import SpectralStatistics
from ..evaluation.scores import evaluate_scores
from ..metrics.functional import term_names
from .transfer import MANIFEST, detector_files, hub_errors, hub_id, push_files


TEMPLATE = Path(__file__).parent / "model_card_template.md"
SCORE_COLUMNS = ("clip_id", "machine", "section", "domain", "condition", "anomaly_score", "is_anomaly")
STATISTICS = {
    "quantiles": "spectral statistics, the 10, 50 and 90 % quantiles over time of 128 log-mel bands; no weights",
    "mean": "spectral statistics, the mean over time of 128 log-mel bands; no weights",
    "acoustic_features": "levels, tones, swells, knocks and rhythms of the recording; no weights",
}
BACKENDS = {
    "cosine": "cosine distance to the nearest normal recordings",
    "euclidean": "Euclidean distance to the nearest normal recordings",
    "standardized_knn": "distance to the nearest normal recordings over standardized dimensions",
    "max_deviation": "largest standardized deviation from the normal recordings",
    "mahalanobis": "Mahalanobis distance from the mean of the normal recordings",
    "gmm": "likelihood under a Gaussian mixture of the normal recordings",
    "lof": "local outlier factor among the normal recordings",
}
FUSIONS = {"mean": "mean", "min": "lowest", "max": "highest"}
THRESHOLDS = {
    "conformal": "at the rank among them that a new normal recording exceeds at the stated rate on average",
    "quantile": "their quantile, which new normal recordings exceed more often where there are few",
    "gamma": "the quantile of a gamma distribution fitted to them (of their rank where none fits)",
}
CHANNELS = {
    "mean": "the mean of all channels",
    "near-minus-far": "channel 0, near the machine, less what channel 1, far from it, explains by one filter",
    "spectral-subtraction": "channel 0, near the machine, less the power that channel 1, far from it, explains",
}


def record_evaluation(
    folder: str | Path,
    scored: Dataset,
    year: int = 2025,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    baselines: dict[str, dict] | None = None,
) -> dict:
    """
    Puts what was measured beside a detector: `scores.parquet`, each test clip's score and truth, and
    `evaluation.json`, the official scores with intervals that follow from it.

    Args:
        folder (`str` or `Path`): where [`~hf_asd.AnomalyDetector.save_pretrained`] wrote the detector.
        scored (`datasets.Dataset`): what [`~hf_asd.AnomalyDetector.score`] made of labeled test clips.
        year (`int`, *optional*, defaults to 2025): whose official score, 2020 to 2026.
        resamples (`int`, *optional*, defaults to 1000): of the bootstrap; 0 for no intervals.
        confidence (`float`, *optional*, defaults to 0.95): how often an interval should cover the score.
        baselines (`dict[str, dict]`, *optional*): name -> evaluation of other detectors on the same clips.

    Returns:
        `dict`: of [`~hf_asd.evaluate_scores`], where each of `machines` has its own `confidence_interval` and
        `false_alarms` (alarms, normal clips).

    Raises:
        ValueError: a test clip lacks its condition or domain.
    """
    folder, options = Path(folder), {"year": year, "resamples": resamples, "confidence": confidence}
    evaluation = evaluate_scores(scored, **options)
    machines, conditions = scored["machine"][:], scored["condition"][:]
    for machine, means in evaluation["machines"].items():
        rows = scored.select([row for row, name in enumerate(machines) if name == machine])
        if resamples:
            means["confidence_interval"] = evaluate_scores(rows, **options)["confidence_interval"]
        alarms = [
            alarm is True  # None: no decision
            for alarm, condition in zip(rows["is_anomaly"], rows["condition"], strict=True)
            if condition == "normal"
        ]
        means["false_alarms"] = [sum(alarms), len(alarms)]
    evaluation["clips"] = {condition: conditions.count(condition) for condition in ("normal", "anomaly")}
    evaluation["baselines"] = baselines or {}
    write_table(scored.select_columns(list(SCORE_COLUMNS)), folder / "scores.parquet")
    _write(folder / "evaluation.json", evaluation)
    return evaluation


def record_recipe(folder: str | Path, recipe: dict) -> None:
    """
    Puts how a detector was made beside it: `recipe.yaml`, without the names of folders and tokens.

    Args:
        folder (`str` or `Path`): the detector's folder.
        recipe (`dict`): all sections with their options.
    """
    recipe = {name: section for name, section in recipe.items() if name != "output_dir"}
    recipe["data"] = recipe["data"] | {"path": recipe["data"]["path"] and Path(recipe["data"]["path"]).name}
    if encoder := recipe["pretrain"]["encoder"]:
        recipe["pretrain"] = recipe["pretrain"] | {"encoder": hub_id(encoder) or Path(encoder).name}
    for stage in ("pretrain", "finetune"):
        training = {name: value for name, value in recipe[stage]["training"].items() if name != "hub_token"}
        recipe[stage] = recipe[stage] | {"training": training}
    partial = Path(folder) / "recipe.yaml.partial"
    partial.write_text(yaml.safe_dump(json.loads(json.dumps(recipe)), sort_keys=False), encoding="utf-8")
    os.replace(partial, Path(folder) / "recipe.yaml")


def record_compute(folder: str | Path, compute: dict[str, dict]) -> None:
    """
    Puts what a detector took to make beside it: `compute.json`.

    Args:
        folder (`str` or `Path`): the detector's folder.
        compute (`dict[str, dict]`): stage -> `seconds`, `device` (of [`~hf_asd.distributed.hardware`]) and `resumed`,
            whether the seconds are those since an interruption.
    """
    _write(Path(folder) / "compute.json", compute)


def render_model_card(folder: str | Path, detector: AnomalyDetector) -> Path:
    """
    Writes a detector's card into its folder, from what lies there.

    Args:
        folder (`str` or `Path`): where [`~hf_asd.AnomalyDetector.save_pretrained`] wrote the detector.
        detector ([`~hf_asd.AnomalyDetector`]): the same.

    Returns:
        `Path`: `<folder>/README.md`.
    """
    model_card(folder, detector, Path(folder).as_posix()).save(Path(folder) / "README.md")
    return Path(folder) / "README.md"


def push_detector(
    folder: str | Path,
    repo_id: str,
    *,
    license: str | None = None,
    dataset: str | None = None,
    private: bool | None = True,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """
    Publishes a detector's folder, with its card, in one commit. It is loaded first: what does not load is not
    published.

    Args:
        folder (`str` or `Path`): where [`~hf_asd.AnomalyDetector.save_pretrained`] wrote the detector.
        repo_id (`str`): `"ORG/NAME"`. Made where it is not there; an older version of a detector is replaced.
        license (`str`, *optional*): of the recordings that it was fitted on, as the Hub calls it, such as
            `"cc-by-nc-sa-4.0"`.
        dataset (`str`, *optional*): id on the Hub of those recordings.
        private (`bool`, *optional*, defaults to `True`): whether only you see a repository that is made now. The
            memory bank and the clips' names tell something about the machines.
        revision (`str`, *optional*): branch to push to; `main` by default.
        token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses or cannot be reached, or the repository holds something else.
        FileNotFoundError, ValueError: the folder holds no whole detector.
    """
    if dataset is not None:
        with hub_errors(dataset):
            validate_repo_id(dataset)
    detector = AnomalyDetector.from_pretrained(Path(folder).resolve())

    def files(full_id: str) -> dict[str, Path | bytes]:
        # The card's lines about its scores load the metric from the same account, where it was published.
        metric = f"{full_id.split('/')[0]}/dcase_score"
        has_metric = HfApi(token=token).repo_exists(metric, repo_type="space")
        told = {"on_hub": True, "metric": metric if has_metric else None, "license": license, "dataset": dataset}
        card = model_card(folder, detector, full_id, **told)
        return detector_files(folder) | {"README.md": str(card).encode()}

    options = {"private": private, "revision": revision, "token": token}
    return push_files(repo_id, files, mark=MANIFEST, commit_message="Upload detector", **options)


def model_card(
    folder: str | Path,
    detector: AnomalyDetector,
    name: str,
    *,
    on_hub: bool = False,
    metric: str | None = None,
    license: str | None = None,
    dataset: str | None = None,
) -> ModelCard:
    """
    The card of a detector.

    Args:
        folder (`str` or `Path`): the detector's folder, with what [`record_evaluation`], [`record_recipe`]
            and [`record_compute`] left.
        detector ([`~hf_asd.AnomalyDetector`]): the same.
        name (`str`): what it is loaded by, an id on the Hub or a folder.
        on_hub (`bool`, *optional*, defaults to `False`): which of the two it is.
        metric (`str`, *optional*): id of the Space that holds the metric.
        license (`str`, *optional*): of the recordings that it was fitted on.
        dataset (`str`, *optional*): id on the Hub of those recordings.

    Returns:
        `huggingface_hub.ModelCard`.
    """
    folder = Path(folder)
    evaluation, compute, compact = (_read(folder / f"{part}.json") for part in ("evaluation", "compute", "compact"))
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8")) if (folder / "recipe.yaml").exists() else None
    machines = [
        {
            "name": machine,
            "clips": len(bank.normal_scores),
            "threshold": bank.threshold,
            "false_alarm_rate": bank.false_alarm_rate,
            "training_summary": detector.training_summary[machine],
            "measured": None if evaluation is None else evaluation["machines"].get(machine),
        }
        for machine, bank in detector.machines.items()
    ]
    rates = sorted({rate for machine in machines for rate in machine["training_summary"]["sampling_rates"]})
    domains = sorted(
        {domain for machine in machines for domain in machine["training_summary"]["domains"]} - {"unknown"}
    )
    title = f"Anomalous sound detector: {', '.join(detector.machines)}"
    base_model = detector.base_model or (recipe and hub_id(recipe["pretrain"]["encoder"]))
    card_data = ModelCardData(
        library_name="hf-asd",
        pipeline_tag="audio-classification",
        tags=["anomaly-detection", "anomalous-sound-detection", "dcase", "audio"],
        metrics=["roc_auc", "pauc"],
        **({} if license is None else {"license": license}),
        **({} if base_model is None else {"base_model": base_model}),
        **({} if dataset is None else {"datasets": [dataset]}),
        **({} if evaluation is None else {"model_name": title, "eval_results": _results(evaluation, dataset)}),
    )
    return ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=title,
        name=name,
        address=f"hf://{name}" if on_hub else name,
        machines=machines,
        domains=domains,
        rates=rates,
        needed_rate=SAMPLING_RATE,
        channel=CHANNELS.get(detector.config.channel, f"channel {detector.config.channel}"),
        embedding=embedding_in_words(detector),
        backend=_backend(detector),
        threshold=THRESHOLDS[detector.config.threshold_method],
        has_reasons=bool(detector.profiles),
        evaluation=evaluation,
        terms=[] if evaluation is None else list(term_names(evaluation["year"])),
        metric=metric,
        license=license,
        dataset=dataset,
        base_model=base_model,
        recipe=recipe,
        compute=compute,
        compact=compact,
    )


def embedding_in_words(detector: AnomalyDetector) -> str:
    """What turns a detector's recordings into embeddings, for cards and reports."""
    if isinstance(detector.encoder, SpectralStatistics):
        return STATISTICS[detector.encoder.statistics]
    shape = detector.encoder.model.config
    beside = "" if detector.encoder.statistics is None else ", beside spectral statistics"
    if shape.model_type == "attribute_classifier":
        return (
            f"audio transformer in `encoder/` ({shape.encoder_config.model_type}), fine-tuned to tell "
            f"{shape.num_labels} machine attributes apart, tokens pooled by {shape.pooling}{beside}"
        )
    tokens = "tokens" if detector.encoder.layer is None else f"tokens of block {detector.encoder.layer}"
    pooled = f"{tokens} pooled by {detector.config.pooling}{beside}"
    return f"audio transformer in `encoder/` ({shape.model_type}), {pooled}"


def _backend(detector: AnomalyDetector) -> str:
    config = detector.config
    backend = " and ".join(BACKENDS[name] for name in config.backends)
    if len(config.backends) > 1:
        backend += f"; the {FUSIONS[config.fusion]} of their z-scores"
    if not {"cosine", "euclidean"}.isdisjoint(config.backends):
        backend += f"; neighbors averaged: {config.num_neighbors}"
        if config.normalization in ("ratio", "difference", "varmin"):
            backend += f", distances normalized by their local density ({config.normalization})"
    return backend


def _results(evaluation: dict, dataset: str | None) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="anomalous sound detection",
            dataset_type=dataset or "machine-recordings",
            dataset_name=machine,
            dataset_config=machine,
            dataset_split="test",
            metric_type="dcase_score",
            metric_name=f"official score of DCASE Task 2, {evaluation['year']}",
            metric_value=round(means["official_score"], 6),
        )
        for machine, means in evaluation["machines"].items()
    ]


def _read(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write(path: Path, content: dict):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, path)
