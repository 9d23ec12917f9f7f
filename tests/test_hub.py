import numpy as np
import pytest
import soundfile
from huggingface_hub import ModelCard

from hf_asd import AnomalyDetector, load_folder
from hf_asd.hub import TEMPLATE, render_model_card
from hf_asd.metrics.functional import score_table


@pytest.fixture
def detector(tmp_path):
    rng = np.random.default_rng(0)
    for machine in ("fan", "pump"):
        (tmp_path / "clips" / machine).mkdir(parents=True)
        for clip in range(5):
            soundfile.write(tmp_path / "clips" / machine / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    return AnomalyDetector().fit(load_folder(tmp_path / "clips"))


def evaluation(scores):
    return score_table(
        labels=[0, 1] * 8,
        scores=scores,
        machines=["fan"] * 8 + ["pump"] * 8,
        sections=["00"] * 16,
        domains=(["source"] * 2 + ["target"] * 2) * 4,
    )


def test_the_card_says_what_was_measured_and_against_what(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    good, poor = evaluation([0.0, 1.0] * 8), evaluation([0.5] * 16)
    card = ModelCard.load(render_model_card(folder, detector, good | {"baselines": {"mean log-mel": poor}}))
    assert card.data.library_name == "hf-asd" and card.data.pipeline_tag == "audio-classification"
    assert {result.dataset_name: result.metric_value for result in card.data.eval_results} == {"fan": 1.0, "pump": 1.0}
    for line in (
        "| fan | 100.00 | 100.00 | 100.00 | 100.00 |",
        f"mean log-mel {100 * poor['official_score']:.2f}.",
        f"| pump | 5 | {detector.machines['pump'].threshold:.4g} | 16.7 % |",
        'machine="fan"',
    ):
        assert line in card.text
    tables = [line for line in card.text.splitlines() if line.startswith("|")]
    assert len(tables) == 2 + 2 + 2 + 3  # two heads, two machines in the first table, two and their mean in the second


def test_the_card_does_not_claim_what_was_not_measured(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "detector")
    card = ModelCard.load(render_model_card(folder, detector))
    assert "no labelled anomalies were given" in card.text
    assert card.data.eval_results is None and "{{" not in card.content


def test_the_template_at_the_top_is_the_packages():
    top = TEMPLATE.parent.parent / "model_card_template.md"
    assert top.resolve() == TEMPLATE
