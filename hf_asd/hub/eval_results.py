"""Measured scores as `.eval_results/*.yaml`, which the Hub shows on a model's page and in a dataset's leaderboard."""

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml


EVAL_RESULTS = ".eval_results/dcase_score.yaml"


def eval_results(evaluation: dict, dataset: str, repo_id: str) -> dict[str, bytes]:
    """
    The file with the official score of each machine, by its path in a repository.

    Args:
        evaluation (`dict`): of [`~hf_asd.hub.model_card.record_evaluation`].
        dataset (`str`): id on the Hub of the recordings; its configs are the machines.
        repo_id (`str`): full id of the detector, which holds the score of each recording.
    """
    source = f"https://huggingface.co/{repo_id}/blob/main/scores.parquet"
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=machine,
            value=round(means["official_score"], 6),
            source_url=source,
            source_name="Scores of each recording",
            notes=f"official score of DCASE Task 2, {evaluation['year']}{_interval(means, evaluation)}",
        )
        for machine, means in evaluation["machines"].items()
    ]
    return {EVAL_RESULTS: yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False).encode()}


def _interval(means: dict, evaluation: dict) -> str:
    if "confidence_interval" not in means:
        return ""
    low, high = means["confidence_interval"]
    return f"; {100 * evaluation['confidence']:.0f} % confidence interval {low:.4f} to {high:.4f}"
