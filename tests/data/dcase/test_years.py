"""The table of challenge years: one entry is all that a new year needs."""

from dataclasses import replace

import pytest
from datasets import Dataset

from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.dcase.years import ACCEPTED_YEARS, DEFAULT_YEAR, YEARS, year_rules, years_of_machine
from hf_asd.evaluation.scores import evaluate_scores, format_table
from hf_asd.evaluation.submission import read_submission, write_submission
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


def test_the_years_without_gaps_and_their_messages():
    assert list(YEARS) == list(range(min(YEARS), max(YEARS) + 1)) and DEFAULT_YEAR in YEARS
    assert ACCEPTED_YEARS == f"{min(YEARS)} to {max(YEARS)}"
    with pytest.raises(ValueError, match=f"year is 1999; accepted are {ACCEPTED_YEARS}"):
        year_rules(1999)
    assert years_of_machine("fan") == [] and years_of_machine("ToothBrush") == [2024, 2026]


def test_a_new_year_is_one_entry(monkeypatch, tmp_path):
    new = max(YEARS) + 1
    monkeypatch.setitem(
        YEARS, new, replace(YEARS[2025], terms=("auc_source", "pauc"), result_name="{machine}-{section}")
    )
    sizes = {"num_source_train": 2, "num_target_train": 1, "num_test": 2, "clip_seconds": 1.0}
    factory = write_factory(FactoryConfig(machines=("fan",), hidden_machines=0, **sizes), tmp_path / "factory")
    test = load_dcase(factory, new, cache_dir=tmp_path / "cache")["test"]
    scores = [float(condition == "anomaly") for condition in test["condition"]]
    columns = {"anomaly_score": scores, "is_anomaly": [score > 0.5 for score in scores]}
    names = ("machine", "section", "domain", "condition", "clip_id")
    scored = Dataset.from_dict({name: test[name][:] for name in names} | columns)
    result = evaluate_scores(scored, new)
    assert result["official_score"] == 1.0 and "auc_target" not in result and "auc source" in format_table(result)
    files = write_submission(scored, tmp_path / "submission", new)
    assert [file.name for file in files] == ["anomaly_score_fan-00.csv", "decision_result_fan-00.csv"]
    assert sorted(read_submission(tmp_path / "submission", new)["anomaly_score"]) == sorted(scores)
