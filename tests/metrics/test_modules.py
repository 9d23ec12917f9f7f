"""The `evaluate` modules, loaded from the repository and from the installed package."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

from hf_asd.metrics.functional import pauc
from hf_asd.metrics.loading import METRICS, load_metric
from hf_asd.metrics.official_score import score_table


ROOT = Path(__file__).parents[2]


@pytest.fixture
def columns():
    random = np.random.default_rng(0)
    labels = np.tile(np.repeat([0, 1, 0, 1], 10), 2)
    return {
        "prediction_scores": random.normal(size=80) + labels,
        "references": labels,
        "machine": ["fan"] * 40 + ["valve"] * 40,
        "section": ["00"] * 80,
        "domain": np.tile(np.repeat(["source", "target"], 20), 2).tolist(),
    }


@pytest.mark.parametrize("name", METRICS)
def test_loads_from_the_repository_s_root(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = evaluate.load(f"hf_asd/metrics/{name}")
    assert "DCASE" in module.description or "McClish" in module.description
    card = (ROOT / "hf_asd" / "metrics" / name / "README.md").read_text()
    assert card.startswith("---\ntitle:") and "\n- metric\n" in card


def test_pauc(columns):
    scores, labels = columns["prediction_scores"], columns["references"]
    module = load_metric("pauc")
    assert module.compute(prediction_scores=scores, references=labels) == {"pauc": pauc(labels, scores)}
    assert module.compute(prediction_scores=scores, references=labels, max_fpr=1.0)["pauc"] == pauc(labels, scores, 1)
    for part in np.array_split(np.arange(80), 3):
        module.add_batch(prediction_scores=scores[part], references=labels[part])
    assert module.compute()["pauc"] == pauc(labels, scores), "batches, in double precision"
    with pytest.raises(ValueError, match="none of the 2 clips is anomalous"):
        module.compute(prediction_scores=[0.1, 0.2], references=[0, 0])


@pytest.mark.parametrize("year", [2020, 2021, 2025])
def test_dcase_score(columns, year):
    decisions = (columns["prediction_scores"] > 0.5).astype(int)
    found = load_metric("dcase_score").compute(**columns, year=year, decisions=decisions, resamples=20)
    expected = score_table(
        *(columns[name] for name in ("references", "prediction_scores", "machine", "section", "domain")),
        year,
        decisions=decisions,
    )
    low, high = found.pop("confidence_interval")
    assert low < found["official_score"] < high
    assert found == expected
    assert any(name.startswith("f1") for name in found["sections"][0])


def test_names_that_do_not_exist():
    with pytest.raises(ValueError, match="name is 'f1'; accepted are pauc, dcase_score"):
        load_metric("f1")
