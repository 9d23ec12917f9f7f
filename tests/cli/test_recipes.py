import csv
import json

import pytest

from hf_asd.cli import main
from hf_asd.data.schema import read_table


pytestmark = pytest.mark.usefixtures("short_reports")

TINY = """
seed: 0
factory: {machines: [fan, valve], num_source_train: 10, num_target_train: 2, num_test: 1, clip_seconds: 2.0}
pretrain:
  model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, decoder_layers: 1}
  crop_seconds: 1
  num_masks: 2
  batch_size: 4
  max_steps: 4
  save_steps: 2
cluster: {num_clusters: 3}
finetune: {pooling: bands_std, crop_seconds: 1, batch_size: 4, max_steps: 4, save_steps: 2}
evaluate: {resamples: 20}
"""


@pytest.mark.slow
def test_a_recipe_runs_from_end_to_end_and_again_only_what_changed(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(TINY)
    command = ["run", str(tmp_path), "--output_dir", str(tmp_path / "runs")]
    assert main(command) == 0
    first = capsys.readouterr().out
    for words in (
        "official score 2025",
        "spectral statistics",
        "mean log-mel",
        "pseudo-attributes compared with the true attributes",
        "report:",
    ):
        assert words in first
    folders = {folder.name.rsplit("-", 1)[0]: folder for folder in (tmp_path / "runs").iterdir()}
    stages = ["data", "pretrain", "embed", "cluster", "finetune", "fit", "score", "evaluate", "report"]
    assert sorted(folders) == sorted(stages)
    detector = folders["fit"] / "detector"
    published = {"README.md", "config.json", "detector.json", "memory_bank.safetensors", "encoder"}
    published |= {"normal_profiles.safetensors", "evaluation.json", "scores.parquet", "recipe.yaml", "compute.json"}
    assert {file.name for file in detector.iterdir()} == published
    card = (detector / "README.md").read_text()
    assert "| finetune | " in card and "## Evaluation" in card and "of 2 normal ones" in card
    report = (folders["report"] / "report.html").read_text()
    assert report.count("Clusters of normal recordings") == 1 and 'alt="Dendrogram"' in report  # valve hides its own
    submission = {file.name for file in (folders["score"] / "submission").iterdir()}
    assert "anomaly_score_fan_section_00_test.csv" in submission
    scored = read_table(folders["score"] / "test.parquet")
    assert len(scored) == 2 * 4

    assert main(command) == 0
    captured = capsys.readouterr()
    again = captured.out
    assert captured.err.count(": reused (") == len(stages)
    assert again.split("official score 2025")[1] == first.split("official score 2025")[1]

    assert main([*command, "--fit.false_alarm_rate", "0.1", "--until", "evaluate"]) == 0
    assert capsys.readouterr().err.count(": reused (") == 5  # data to fine-tuning

    # The same seed in another folder gives the same scores and pseudo-attributes to the bit, another seed does not.
    scores, names = {}, {}
    for folder, seed in (("same", 0), ("other", 1)):
        output_dir = tmp_path / folder
        assert main(["score", str(output_dir), "x"]) == 2
        options = ["--output_dir", str(output_dir), "--seed", str(seed), "--score.baselines", "false"]
        assert main(["run", str(tmp_path), "--until", "score", *options]) == 0
        (table,) = output_dir.glob("score-*/test.parquet")
        scores[folder] = read_table(table)["anomaly_score"][:]
        (table,) = output_dir.glob("cluster-*/train.parquet")
        names[folder] = read_table(table)["pseudo_attribute"][:]
    assert scores["same"] == scored["anomaly_score"][:]
    assert names["same"] == read_table(folders["cluster"] / "train.parquet")["pseudo_attribute"][:]
    assert scores["other"] != scores["same"]

    evaluation = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    assert set(evaluation["machines"]) == {"fan", "valve"} and len(evaluation["clusters"]) == 1
    # The factory's truth, read from the submission files alone, gives the same score.
    (factory,) = (tmp_path / "runs").glob("data-*/factory")
    capsys.readouterr()
    assert main(["evaluate", str(folders["score"] / "submission"), "--truth", str(factory), "--resamples", "0"]) == 0
    assert f"official score 2025: {100 * evaluation['official_score']:.2f} %" in capsys.readouterr().out


@pytest.mark.slow
def test_true_attributes_of_a_file_are_the_supervised_path_to_the_bit(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(TINY)
    run = ["run", str(tmp_path), "--until", "score", "--score.baselines", "false", "--output_dir"]
    assert main([*run, str(tmp_path / "supervised"), "--factory.hidden_machines=0"]) == 0
    (truth,) = (tmp_path / "supervised").glob("data-*/factory/ground_truth")
    assert not list(truth.glob("*_attributes_*")), "nothing is hidden"
    hidden = [*run, str(tmp_path / "hidden")]
    assert main(hidden) == 0
    (table,) = (tmp_path / "hidden").glob("data-*/factory/ground_truth/valve_attributes_00.csv")
    given = tmp_path / "given" / table.name
    given.parent.mkdir()
    given.write_bytes(table.read_bytes())
    assert main([*run, str(tmp_path / "given/runs"), "--attributes-file", str(given)]) == 0

    rows = {}
    for name, runs in (("supervised", "supervised"), ("hidden", "hidden"), ("given", "given/runs")):
        (scored,) = (tmp_path / runs).glob("score-*/test.parquet")
        (clustered,) = (tmp_path / runs).glob("cluster-*/train.parquet")
        (weights,) = (tmp_path / runs).glob("finetune-*/encoder/model.safetensors")
        labels = read_table(clustered)
        rows[name] = (read_table(scored)["anomaly_score"][:], weights.read_bytes(), labels["attribute_label"][:])
        assert (set(labels["pseudo_attribute"][:]) == {None}) == (name != "hidden")
    assert rows["given"] == rows["supervised"]
    assert rows["given"][0] != rows["hidden"][0]

    strange = tmp_path / "strange_attributes_00.csv"
    strange.write_text("file_name,d1p,d1v\nsection_00_source_train_normal_0000_noAttribute.wav,speed,3\n")
    capsys.readouterr()
    assert main([*hidden, "--attributes-file", str(strange)]) == 2
    assert "but of none of the 12 clips with hidden attributes" in capsys.readouterr().err


@pytest.mark.slow
def test_clusters_are_named_in_a_table_and_read_back(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(TINY)
    runs = ["--output_dir", str(tmp_path / "runs")]
    table = tmp_path / "clusters.csv"
    assert main(["clusters", str(tmp_path), "--csv", str(table), *runs]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["machine"] for row in rows} == {"valve"} and sum(int(row["clips"]) for row in rows) == 12
    assert rows[0]["listen_to"].startswith("valve/train/section_00_")
    table.write_text(table.read_text().replace("cluster=0", "idle").replace("cluster=1", "idle"))
    assert main(["run", str(tmp_path), "--until", "cluster", *runs, "--cluster.names_file", str(table)]) == 0
    named = [
        set(read_table(file)["pseudo_attribute"][:]) for file in (tmp_path / "runs").glob("cluster-*/train.parquet")
    ]
    assert {None, "idle", "cluster=2"} in named and {None, "cluster=0", "cluster=1", "cluster=2"} in named
    capsys.readouterr()
    assert main(["clusters", str(tmp_path), "--csv", str(table), *runs]) == 2
    assert "exists already" in capsys.readouterr().err
