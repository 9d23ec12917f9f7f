"""Metrics as Spaces on a local Hub, loaded by a process that has `evaluate` and no hf_asd."""

import json
import subprocess
import sys

import pytest
from huggingface_hub import RepoCard

from hf_asd.cli import main
from hf_asd.hub.metric_spaces import push_metrics, space_files
from hf_asd.hub_errors import HubError
from hf_asd.metrics.functional import pauc
from hf_asd.metrics.official_score import score_table


LABELS = [0, 1] * 8
SCORES = [0.1, 0.3, 0.35, 0.2, 0.0, 0.9, 0.4, 0.5, 0.2, 0.8, 0.15, 0.1, 0.6, 0.7, 0.05, 0.45]
DOMAINS = ["source", "source", "target", "target"] * 4
PROGRAM = f"""
import json, sys
sys.modules["hf_asd"] = None  # as if it were not installed
import evaluate
scores, labels = {SCORES}, {LABELS}
columns = {{"machine": ["fan"] * 16, "section": ["00"] * 16, "domain": {DOMAINS}}}
partial = evaluate.load("me/pauc").compute(prediction_scores=scores, references=labels, max_fpr=0.3)
official = evaluate.load("me/dcase_score").compute(
    prediction_scores=scores, references=labels, **columns, year=2025, resamples=50
)
print(json.dumps([partial, official]))
"""


@pytest.mark.slow
def test_a_process_without_the_package_computes_the_same(hub, tmp_path, capsys):
    assert main(["push-metric"]) == 0
    assert 'evaluate.load("me/pauc")' in capsys.readouterr().out
    repo = hub.repo("me/dcase_score", "spaces")
    assert sorted(repo.files) == [
        "README.md",
        "app.py",
        "bootstrap.py",
        "dcase_score.py",
        "functional.py",
        "official_score.py",
        "requirements.txt",
        "years.py",
    ]
    # -I: nothing is imported from the current folder or PYTHONPATH
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM],
        env=hub.environment(tmp_path / "home", token=None),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    partial, official = json.loads(done.stdout.splitlines()[-1])
    assert partial == {"pauc": pauc(LABELS, SCORES, 0.3)}
    low, high = official.pop("confidence_interval")
    assert low < official["official_score"] < high
    assert official == score_table(LABELS, SCORES, ["fan"] * 16, ["00"] * 16, DOMAINS, 2025)


@pytest.mark.parametrize("name", ["pauc", "dcase_score"])
def test_a_space_speaks_of_itself_alone(name):
    files = {path: data.decode() for path, data in space_files(name, f"org/{name}").items()}
    card = RepoCard(files["README.md"])
    assert card.data.sdk == "gradio" and "metric" in card.data.tags
    assert f'evaluate.load("org/{name}")' in card.text and f'evaluate.load("org/{name}")' in files["app.py"]
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert "hf_asd" not in text.replace("~hf_asd.", ""), path
        assert "hf_asd/metrics" not in text


def test_publishing_again_replaces_and_names_are_checked(hub):
    assert push_metrics(["pauc"], namespace="org", private=True) == ["org/pauc"]
    assert push_metrics(["pauc"], namespace="org") == ["org/pauc"]
    assert hub.repo("org/pauc", "spaces").private and ("spaces", "org/dcase_score") not in hub.repos
    with pytest.raises(ValueError, match="name is 'f1'"):
        push_metrics(["f1"])
    with pytest.raises(HubError, match="has no write access"):
        push_metrics(["pauc"], token="hf_read")
