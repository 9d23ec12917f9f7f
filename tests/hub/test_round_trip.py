"""
As a new user would: this process trains on a miniature factory and pushes; another, with an empty cache, runs the
pushed card's own lines and gets the same scores; a third, without the package, loads the metric by its id and
reproduces the card's numbers from the pushed scores.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml
from huggingface_hub import ModelCard

from hf_asd import AnomalyDetector
from hf_asd.cli import main


pytestmark = pytest.mark.usefixtures("short_reports")

ROOT = Path(__file__).parents[2]
RECIPE = {
    "seed": 0,
    "factory": {
        "machines": ["fan", "valve"],
        "num_source_train": 10,
        "num_target_train": 2,
        "num_test": 2,
        "clip_seconds": 2.0,
    },
    "pretrain": {
        "model": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "decoder_layers": 1,
        },
        "crop_seconds": 1,
        "num_masks": 2,
        "batch_size": 4,
        "max_steps": 2,
    },
    "cluster": {"num_clusters": 3},
    "finetune": {"crop_seconds": 1, "batch_size": 4, "max_steps": 2},
    "evaluate": {"resamples": 20},
    "score": {"baselines": False},
}


def run(programs, hub, home, cwd, isolated=False):
    """What programs print that know nothing of each other, in a process of its own without a cache."""
    environment = hub.environment(home, token=None) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    code = "".join(f"exec({program!r}, {{}})\n" for program in programs)
    done = subprocess.run(
        [sys.executable, *(["-I"] if isolated else []), "-c", code],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip().splitlines()


@pytest.mark.slow
def test_train_push_use_and_check(hub, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    user = tmp_path / "user"
    user.mkdir()
    # What the new user has recorded: a clip of the factory, known to both sides by its samples alone.
    recording, runs = user / "recording.wav", tmp_path / "runs"
    tone = [0.1 * ((step * 7919) % 1000 / 1000 - 0.5) for step in range(32_000)]
    soundfile.write(recording, tone, 16_000)
    assert main(["push-metric"]) == 0
    assert main(["run", str(tmp_path / "recipe.yaml"), "--output_dir", str(runs)]) == 0
    (folder,) = runs.glob("fit-*/detector")
    assert main(["push", str(folder), "me/asd-factory", "--public", "--license", "apache-2.0"]) == 0
    expected = AnomalyDetector.from_pretrained(folder)(recording, machine="fan").to_dict()

    card = ModelCard(hub.repo("me/asd-factory").files["README.md"].decode())
    snippets = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert len(snippets) == 3
    detector, pipeline, reproduce = snippets
    printed = run([detector, pipeline], hub, tmp_path / "home", user)
    assert [ast.literal_eval(line) for line in printed[-2:]] == [expected, [expected]]

    assert "hf_asd" not in reproduce
    result = ast.literal_eval(run([reproduce], hub, tmp_path / "another home", user, isolated=True)[-1])
    published = {entry.dataset_config: entry.metric_value for entry in card.data.eval_results}
    assert {name: round(means["official_score"], 6) for name, means in result["machines"].items()} == published
    names = ("auc_source", "auc_target", "pauc", "official_score")
    for machine, means in (*result["machines"].items(), ("all", result)):
        (line,) = (line for line in card.text.splitlines() if re.match(rf"\| {machine} (\| \d+\.\d\d ){{4}}\|", line))
        assert [cell.strip() for cell in line.split("|")[2:6]] == [f"{100 * means[name]:.2f}" for name in names]
    low, high = result["confidence_interval"]
    assert line.split("|")[6].strip() == f"{100 * low:.2f} to {100 * high:.2f}"
