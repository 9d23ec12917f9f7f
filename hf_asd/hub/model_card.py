"""The card of a detector, made from the project's template and the files in the detector's folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from huggingface_hub.utils import validate_repo_id

from ..audio.reading import SAMPLING_RATE
from ..data.dcase.years import DEFAULT_YEAR, year_rules
from ..data.schema import write_table
from ..evaluation.scores import evaluate_scores
from ..files import read_json, write_json, write_text
from ..folders import read_whole
from ..hub_errors import hub_errors
from .endpoint_files import endpoint_files
from .eval_results import eval_results
from .manifest import CARD, DETECTOR_FOLDER, PROBE_FILE, Manifest, detector_files, manifest_in
from .transfer import DETECTOR, hub_id, push_files
from .widget import widget_examples, widget_files


TEMPLATE = Path(__file__).parent / "model_card_template.md"
PUBLISHED_SCORE_COLUMNS = ("clip_id", "machine", "section", "domain", "condition", "anomaly_score", "is_anomaly")


@dataclass(frozen=True)
class DetectorFacts:
    """
    What the files in a detector's folder say about it.

    Args:
        manifest (`Manifest`): `detector.json`.
        evaluation, compute, compact, probe (`dict`, *optional*): the JSON files of these names; `None` where there is
            none.
        recipe (`dict`, *optional*): `recipe.yaml`.
    """

    manifest: Manifest
    evaluation: dict | None
    compute: dict | None
    compact: dict | None
    recipe: dict | None
    probe: dict | None

    @classmethod
    def read(cls, folder: str | Path) -> "DetectorFacts":
        """Reads them from a detector's folder."""
        return read_whole(folder, DETECTOR_FOLDER, cls._read)

    @classmethod
    def _read(cls, folder: Path) -> "DetectorFacts":
        recipe = folder / "recipe.yaml"
        return cls(
            manifest=manifest_in(folder),
            evaluation=_read_if_present(folder / "evaluation.json"),
            compute=_read_if_present(folder / "compute.json"),
            compact=_read_if_present(folder / "compact.json"),
            probe=_read_if_present(folder / PROBE_FILE),
            recipe=yaml.safe_load(recipe.read_text(encoding="utf-8")) if recipe.is_file() else None,
        )

    @property
    def title(self) -> str:
        return f"Anomalous sound detector: {', '.join(self.manifest['machines'])}"

    @property
    def base_model(self) -> str | None:
        """Id on the Hub of the encoder that training started from."""
        if self.manifest["base_model"] is not None or self.recipe is None:
            return self.manifest["base_model"]
        return hub_id(self.recipe["pretrain"]["encoder"])

    @property
    def machines(self) -> list[dict]:
        """One dictionary per machine: its threshold, training recordings and, where there are some, measurements."""
        return [
            {
                "name": name,
                "threshold": bank["threshold"],
                "false_alarm_rate": bank["false_alarm_rate"],
                "num_sessions": len(set(bank["sessions"] or ())),
                "training_summary": self.manifest["training_summary"][name],
                "evaluation": None if self.evaluation is None else self.evaluation["machines"].get(name),
            }
            for name, bank in self.manifest["machines"].items()
        ]

    def found_in_training(self, name: str) -> list:
        """The different values of an entry of the training summaries, over all machines, sorted."""
        return sorted({value for summary in self.manifest["training_summary"].values() for value in summary[name]})


def record_evaluation(
    folder: str | Path,
    scored: Dataset,
    year: int = DEFAULT_YEAR,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    baselines: dict[str, dict] | None = None,
) -> dict:
    """
    Evaluates a detector and writes the results into its folder: `scores.parquet` holds score and true condition of
    each test clip, `evaluation.json` the official scores computed from it.

    Args:
        folder (`str` or `Path`): the detector's folder.
        scored (`datasets.Dataset`): labeled test clips with the columns of [`~hf_asd.AnomalyDetector.score`].
        year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
        resamples (`int`, *optional*, defaults to 1000): number of bootstrap resamples; 0 for no confidence intervals.
        confidence (`float`, *optional*, defaults to 0.95): probability that an interval covers the score.
        baselines (`dict[str, dict]`, *optional*): name -> evaluation of another detector on the same clips.

    Returns:
        `dict`: the result of [`~hf_asd.evaluate_scores`]; each of `machines` also has a `confidence_interval` and
        `false_alarms` (number of alarms, number of normal clips).

    Raises:
        ValueError: a test clip lacks its condition or domain.
    """
    folder, options = Path(folder), {"resamples": resamples, "confidence": confidence}
    evaluation = evaluate_scores(scored, year, **options)
    machines, conditions = scored["machine"][:], scored["condition"][:]
    for machine, means in evaluation["machines"].items():
        rows = scored.select([row for row, name in enumerate(machines) if name == machine])
        if resamples:
            means["confidence_interval"] = evaluate_scores(rows, year, **options)["confidence_interval"]
        alarms = [
            alarm is True  # None: no decision
            for alarm, condition in zip(rows["is_anomaly"], rows["condition"], strict=True)
            if condition == "normal"
        ]
        means["false_alarms"] = [sum(alarms), len(alarms)]
    evaluation["clips"] = {condition: conditions.count(condition) for condition in ("normal", "anomaly")}
    evaluation["baselines"] = baselines or {}
    write_table(scored.select_columns(list(PUBLISHED_SCORE_COLUMNS)), folder / "scores.parquet")
    write_json(folder / "evaluation.json", evaluation)
    return evaluation


def record_recipe(folder: str | Path, recipe: dict) -> None:
    """
    Writes the recipe of a detector into its folder as `recipe.yaml`, without the names of local folders and without
    tokens.

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
    plain = json.loads(json.dumps(recipe))
    write_text(Path(folder) / "recipe.yaml", yaml.safe_dump(plain, sort_keys=False))


def record_compute(folder: str | Path, compute: dict[str, dict]) -> None:
    """
    Writes the computing time of a detector's stages into its folder as `compute.json`.

    Args:
        folder (`str` or `Path`): the detector's folder.
        compute (`dict[str, dict]`): stage -> `seconds`, `device` (see [`~hf_asd.distributed.hardware`]) and `resumed`,
            whether the seconds cover only the time since an interruption.
    """
    write_json(Path(folder) / "compute.json", compute)


def render_model_card(folder: str | Path, name: str | Path | None = None) -> Path:
    """
    Writes the card of a detector into its folder.

    Args:
        folder (`str` or `Path`): the detector's folder.
        name (`str` or `Path`, *optional*): the folder that readers load the detector from; defaults to `folder`.

    Returns:
        `Path`: `<folder>/README.md`.
    """
    return write_text(Path(folder) / CARD, str(model_card(folder, Path(name or folder).as_posix())))


def push_detector_folder(
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
    Publishes a detector's folder in one commit: with its card, what an Inference Endpoint needs, two sounds of a
    simulated fan, and its scores as the Hub lists them. It is not checked here whether the detector can be loaded;
    [`~hf_asd.detection.publishing.push_detector`] does that.

    Args:
        folder (`str` or `Path`): the detector's folder.
        repo_id (`str`): `"ORG/NAME"`. Created if it does not exist; an older version of a detector is replaced.
        license (`str`, *optional*): license of the training recordings as the Hub names it, such as
            `"cc-by-nc-sa-4.0"`.
        dataset (`str`, *optional*): id on the Hub of the training recordings.
        private (`bool`, *optional*, defaults to `True`): whether a repository that is created now is visible only to
            you. The memory bank and the names of clips reveal something about the machines.
        revision (`str`, *optional*): branch to push to; defaults to `main`.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses the request or cannot be reached, or the repository holds something else.
    """
    if dataset is not None:
        with hub_errors(dataset):
            validate_repo_id(dataset)

    def files(full_id: str) -> dict[str, Path | bytes]:
        # The example in the card loads the metric from the same account if it was published there.
        metric = f"{full_id.split('/')[0]}/dcase_score"
        has_metric = HfApi(token=token).repo_exists(metric, repo_type="space")
        card = model_card(
            folder, full_id, on_hub=True, metric=metric if has_metric else None, license=license, dataset=dataset
        )
        evaluation = DetectorFacts.read(folder).evaluation
        measured = {} if dataset is None or evaluation is None else eval_results(evaluation, dataset, full_id)
        return {
            **endpoint_files(),
            **detector_files(folder),
            **widget_files(),
            **measured,
            CARD: str(card).encode(),
        }

    return push_files(
        repo_id,
        files,
        DETECTOR,
        commit_message="Upload detector",
        private=private,
        revision=revision,
        token=token,
    )


def model_card(
    folder: str | Path,
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
        folder (`str` or `Path`): the detector's folder. Results of [`record_evaluation`], [`record_recipe`] and
            [`record_compute`] are used where they exist.
        name (`str`): the id on the Hub or the folder that readers load the detector from.
        on_hub (`bool`, *optional*, defaults to `False`): whether the name is an id on the Hub.
        metric (`str`, *optional*): id of the Space that holds the metric.
        license (`str`, *optional*): license of the training recordings.
        dataset (`str`, *optional*): id on the Hub of the training recordings.

    Returns:
        `huggingface_hub.ModelCard`.
    """
    facts = DetectorFacts.read(folder)
    rules = None if facts.evaluation is None else year_rules(facts.evaluation["year"])
    return ModelCard.from_template(
        _metadata(facts, license, dataset, name if on_hub else None),
        template_path=str(TEMPLATE),
        title=facts.title,
        name=name,
        on_hub=on_hub,
        address=f"hf://{name}" if on_hub else name,
        machines=facts.machines,
        domains=[domain for domain in facts.found_in_training("domains") if domain != "unknown"],
        sampling_rates=facts.found_in_training("sampling_rates"),
        working_rate=SAMPLING_RATE,
        descriptions=facts.manifest["descriptions"],
        has_reasons=bool(facts.manifest["profiles"]),
        evaluation=facts.evaluation,
        terms=() if rules is None else rules.terms,
        mean=None if rules is None else rules.mean,
        metric=metric,
        license=license,
        dataset=dataset,
        base_model=facts.base_model,
        recipe=facts.recipe,
        compute=facts.compute,
        compact=facts.compact,
        probe=facts.probe,
    )


def _metadata(facts: DetectorFacts, license: str | None, dataset: str | None, repo_id: str | None) -> ModelCardData:
    """The header of the card, which the Hub reads."""
    widget: dict[str, Any] = {} if repo_id is None else {"widget": widget_examples(repo_id)}
    return ModelCardData(
        library_name="hf-asd",
        pipeline_tag="audio-classification",
        tags=["anomaly-detection", "anomalous-sound-detection", "dcase", "audio"],
        metrics=["roc_auc", "pauc"],
        license=license,
        base_model=facts.base_model,
        datasets=None if dataset is None else [dataset],
        model_name=None if facts.evaluation is None else facts.title,
        eval_results=None if facts.evaluation is None else _results(facts.evaluation, dataset),
        **widget,
    )


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


def _read_if_present(path: Path) -> dict | None:
    return read_json(path) if path.is_file() else None
