import json

import numpy as np
import pytest
import soundfile
from datasets import Dataset
from huggingface_hub import ModelCard, ModelCardData, metadata_eval_result, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from hf_asd import AnomalyDetector, load_folder
from hf_asd.data.schema import read_table
from hf_asd.evaluation.scores import evaluate_scores
from hf_asd.hub.model_card import (
    TEMPLATE,
    model_card,
    record_compute,
    record_evaluation,
    record_recipe,
    render_model_card,
)


@pytest.fixture
def detector(tmp_path):
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        (tmp_path / "clips" / machine).mkdir(parents=True)
        for clip in range(5):
            soundfile.write(tmp_path / "clips" / machine / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    rows = load_folder(tmp_path / "clips")["train"]
    hidden = [None if name == "pump" else "speed=1" for name in rows["machine"]]
    rows = rows.remove_columns("attribute_label").add_column("attribute_label", hidden)
    return AnomalyDetector().fit(rows.add_column("pseudo_attribute", ["cluster=0"] * 10))


def scored(detector, scores):
    """Sixteen test clips, normal and anomalous by turns, in both domains of both machines."""
    machine = ["fan"] * 8 + ["pump"] * 8
    thresholds = np.array([detector.machines[name].threshold for name in machine])
    columns = {
        "clip_id": [f"{name}/{index}" for index, name in enumerate(machine)],
        "machine": machine,
        "section": ["00"] * 16,
        "domain": (["source"] * 2 + ["target"] * 2) * 4,
        "condition": ["normal", "anomaly"] * 8,
        "anomaly_score": scores,
        "is_anomaly": np.array(scores) > thresholds,
    }
    return Dataset.from_dict(columns)


def test_the_card_shows_the_evaluation_and_the_baselines(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    rng = np.random.default_rng(0)
    test = scored(detector, (rng.normal(size=16) + np.tile([0, 50.0], 8) * (np.arange(16) < 8)).tolist())
    poor = evaluate_scores(scored(detector, [0.5] * 16))
    evaluation = record_evaluation(folder, test, resamples=50, baselines={"mean log-mel": poor})
    card = ModelCard.load(render_model_card(folder))
    assert card.data.library_name == "hf-asd" and card.data.pipeline_tag == "audio-classification"
    values = {result.dataset_name: result.metric_value for result in card.data.eval_results}
    assert values == {name: round(means["official_score"], 6) for name, means in evaluation["machines"].items()}
    assert values["fan"] == 1.0
    pump = evaluation["machines"]["pump"]
    low, high = (f"{100 * end:.2f}" for end in pump["confidence_interval"])
    alarms = sum(test["is_anomaly"][row] for row in range(8, 16, 2))
    for line in (
        "| fan | 100.00 | 100.00 | 100.00 | 100.00 | 100.00 to 100.00 |",
        f" | {100 * pump['official_score']:.2f} | {low} to {high} |",
        f"mean log-mel {100 * poor['official_score']:.2f}.",
        f"| pump | {detector.machines['pump'].threshold:.4g} | 16.7 % | {alarms} of 4 normal ones |",
        "on 8 normal and 8 anomalous test recordings",
        'machine="fan"',
        "| fan | 5 | 0.1 | 1 known, 1 found by clustering (pseudo-attributes) |",
        "| pump | 5 | 0.1 | hidden, 1 found by clustering (pseudo-attributes) |",
        "recordings of 16000 Hz",
    ):
        assert line in card.text, line
    assert read_table(folder / "scores.parquet")["anomaly_score"][:] == test["anomaly_score"][:]


def test_unknown_facts_have_no_section(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    card = ModelCard.load(render_model_card(folder))
    assert (
        "no labeled normal and anomalous test recordings were available" in card.text
        and card.data.eval_results is None
    )
    for left in ("{{", "{%", " None", "## Compute", "## License", "recipe.yaml", "Compact", "\n\n\n"):
        assert left not in card.content, left


def test_recipe_license_and_compute_without_local_folders(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    training = {"training": {"push_to_hub": True, "hub_token": "hf_secret"}}
    recipe = {"output_dir": "/home/jo/runs", "data": {"path": "/home/jo/dcase2025"}, "finetune": training}
    recipe["pretrain"] = {"encoder": "worstchan/EAT-base_epoch30_pretrain", "training": {}}
    record_recipe(folder, recipe)
    stages = {"pretrain": (1234.5, True), "finetune": (90.0, False)}
    told = {name: {"seconds": time, "device": "a GPU", "resumed": resumed} for name, (time, resumed) in stages.items()}
    record_compute(folder, told)
    card = model_card(folder, "me/asd", on_hub=True, license="cc-by-nc-sa-4.0", dataset="me/dcase")
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.datasets == ["me/dcase"]
    assert "[me/dcase](https://huggingface.co/datasets/me/dcase)" in card.text
    assert card.data.base_model == "worstchan/EAT-base_epoch30_pretrain"
    assert "| pretrain | 20.6 min | a GPU; only the time since an interruption |" in card.text
    assert "| finetune | 1.5 min | a GPU |" in card.text and "`cc-by-nc-sa-4.0`" in card.text
    written = (folder / "recipe.yaml").read_text()
    assert "dcase2025" in written and "jo" not in written and "hf_secret" not in written


def test_the_metadata_is_what_the_hub_accepts(hub, detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    record_evaluation(folder, scored(detector, list(range(16))), resamples=0)
    card = model_card(folder, "me/asd", on_hub=True)
    card.validate()
    assert "POST /api/validate-yaml" in hub.requests
    # Without the Hub: what huggingface_hub reads back from the file is what was written.
    card.save(folder / "README.md")
    metadata = metadata_load(folder / "README.md")
    assert ModelCardData(**metadata).to_dict() == card.data.to_dict() == metadata
    index = metadata["model-index"]
    assert model_index_to_eval_results(index) == (card.data.model_name, card.data.eval_results)
    assert eval_results_to_model_index(card.data.model_name, card.data.eval_results) == index
    assert [result["dataset"]["config"] for result in index[0]["results"]] == ["fan", "pump"]
    one = metadata_eval_result(
        model_pretty_name="x",
        task_pretty_name="y",
        task_id="audio-classification",
        metrics_pretty_name="m",
        metrics_id="dcase_score",
        metrics_value=0.5,
        dataset_pretty_name="fan",
        dataset_id="machine-recordings",
    )
    assert set(one["model-index"][0]["results"][0]) <= set(index[0]["results"][0]), "the layout of the Hub's own tool"
    assert json.loads((folder / "evaluation.json").read_text())["clips"] == {"normal": 8, "anomaly": 8}


def test_the_template_at_the_top_is_the_packages():
    top = TEMPLATE.parents[2] / "model_card_template.md"
    assert top.resolve() == TEMPLATE
