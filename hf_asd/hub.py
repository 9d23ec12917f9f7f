"""The card of a detector, from the project's template."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .detection import AnomalyDetector
from .embedding import SpectralStatistics
from .metrics.functional import term_names


TEMPLATE = Path(__file__).parent / "model_card_template.md"
STATISTICS = {
    "quantiles": "spectral statistics, the 10, 50 and 90 % quantiles over time of 128 log-mel bands; no weights",
    "mean": "spectral statistics, the mean over time of 128 log-mel bands; no weights",
    "description": "levels, tones, swells, knocks and rhythms of the recording; no weights",
}


def render_model_card(folder: str | Path, detector: AnomalyDetector, evaluation: dict | None = None) -> Path:
    """
    Writes a detector's card into its folder.

    Args:
        folder (`str` or `Path`): where [`~hf_asd.AnomalyDetector.save_pretrained`] wrote the detector.
        detector ([`~hf_asd.AnomalyDetector`]): the fitted detector.
        evaluation (`dict`, *optional*): of [`~hf_asd.evaluate_scores`], with `baselines` (name -> evaluation) if any;
            without it the card says that nothing was measured.

    Returns:
        `Path`: `<folder>/README.md`.
    """
    folder = Path(folder)
    machines = [
        {
            "name": name,
            "clips": len(bank.normal_scores),
            "threshold": bank.threshold,
            "false_alarm_rate": bank.false_alarm_rate,
        }
        for name, bank in detector.machines.items()
    ]
    config = detector.config
    if isinstance(detector.encoder, SpectralStatistics):
        embedding = STATISTICS[detector.encoder.statistics]
    else:
        shape = detector.encoder.model.config
        tokens = "tokens" if detector.encoder.layer is None else f"tokens of block {detector.encoder.layer}"
        embedding = f"audio transformer in `encoder/` ({shape.model_type}), {tokens} pooled by {config.pooling}"
        if shape.model_type == "attribute_classifier":
            embedding = (
                f"audio transformer in `encoder/` ({shape.encoder_config.model_type}), fine-tuned to tell "
                f"{shape.num_labels} machine attributes apart, tokens pooled by {shape.pooling}"
            )
    if detector.backend == "deviations":
        backend = "largest standardised deviation from the normal recordings, joined with the nearest neighbour"
    else:
        backend = f"cosine distance to the nearest {config.num_neighbours} normal recording(s)"
        if config.density_neighbours:
            backend += f", divided by the local density among {config.density_neighbours} neighbours"
    title = f"Anomalous sound detector: {', '.join(detector.machines)}"
    card_data = ModelCardData(
        library_name="hf-asd",
        pipeline_tag="audio-classification",
        tags=["anomaly-detection", "anomalous-sound-detection", "audio"],
        metrics=["roc_auc"],
        **({} if evaluation is None else {"model_name": title, "eval_results": _results(evaluation)}),
    )
    card = ModelCard.from_template(
        card_data,
        template_path=str(TEMPLATE),
        title=title,
        folder=folder.name,
        machines=machines,
        channel=f"number {config.channel} (counted from 0)" if isinstance(config.channel, int) else config.channel,
        embedding=embedding,
        backend=backend,
        evaluation=evaluation,
        terms=[] if evaluation is None else list(term_names(evaluation["year"])),
    )
    card.save(folder / "README.md")
    return folder / "README.md"


def _results(evaluation: dict) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="anomalous sound detection",
            dataset_type="machine-recordings",
            dataset_name=machine,
            dataset_config=machine,
            dataset_split="test",
            metric_type="dcase_score",
            metric_name=f"official score of DCASE Task 2, {evaluation['year']}",
            metric_value=round(means["official_score"], 6),
        )
        for machine, means in evaluation["machines"].items()
    ]
