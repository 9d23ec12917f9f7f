import csv
import json
import re

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd.cli import main
from hf_asd.data.schema import read_table


@pytest.fixture
def own_machine(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "my_fan").mkdir()
    (tmp_path / "new").mkdir()
    for clip in range(12):
        soundfile.write(tmp_path / "my_fan" / f"{clip:02d}.wav", hum(rng), RATE)
    soundfile.write(tmp_path / "new" / "healthy.wav", hum(rng), RATE)
    soundfile.write(tmp_path / "new" / "faulty.wav", hum(rng, 170), RATE)
    return tmp_path


def test_fit_and_score_a_folder(own_machine, capsys):
    detector = own_machine / "det"
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(detector)]) == 0
    assert {file.name for file in detector.iterdir()} == {
        "README.md",
        "compute.json",
        "config.json",
        "detector.json",
        "memory_bank.safetensors",
        "normal_sounds.safetensors",
        "report.html",
    }
    assert re.search(r"\| fit \| \d+ s \| .*logical cores", (detector / "README.md").read_text())
    told = capsys.readouterr()
    assert "my_fan: 12 normal recordings, threshold" in told.out
    assert "that takes 20 normal recordings or more" in told.err  # 5 % cannot be promised from 12

    command = ["score", str(detector), str(own_machine / "new"), "--csv", str(own_machine / "out" / "result.csv")]
    assert main(command) == 0
    with open(own_machine / "out" / "result.csv", newline="") as file:
        rows = {row["file"].rsplit("/", 1)[-1]: row for row in csv.DictReader(file)}
    assert rows["faulty.wav"]["is_anomaly"] == "True" and rows["healthy.wav"]["is_anomaly"] == "False"
    assert float(rows["faulty.wav"]["anomaly_score"]) > float(rows["faulty.wav"]["threshold"])
    assert rows["faulty.wav"]["machine"] == "my_fan"
    assert "1 of 2 recordings are anomalous, 0 skipped" in capsys.readouterr().out

    assert main([*command, "--fail-on-anomaly"]) == 1
    healthy = str(own_machine / "new" / "healthy.wav")
    assert main(["score", str(detector), healthy, "--fail-on-anomaly"]) == 0


def test_from_30_recordings_the_encoder_that_comes_along_is_used(own_machine, capsys):
    rng, folder = np.random.default_rng(1), own_machine / "my_fan"
    for clip in range(12, 30):
        soundfile.write(folder / f"{clip:02d}.wav", hum(rng), RATE)
    for name, options in {"both": [], "alone": ["--encoder", "none"]}.items():
        assert main(["fit", str(folder), "--output", str(own_machine / name), *options]) == 0
    assert not (own_machine / "alone" / "encoder").exists()
    learned = json.loads((own_machine / "both" / "detector.json").read_text())["config"]
    assert learned["with_statistics"] and learned["pooling"] == "bands_std"
    assert "tokens pooled by bands_std, beside spectral statistics" in (own_machine / "both" / "README.md").read_text()
    capsys.readouterr()
    assert main(["score", str(own_machine / "both"), str(own_machine / "new")]) == 0
    assert "1 of 2 recordings are anomalous" in capsys.readouterr().out


def test_what_is_measured_on_labeled_recordings_is_pushed(hub, own_machine, capsys):
    rng, machine, detector = np.random.default_rng(1), own_machine / "my_fan", own_machine / "det"
    for condition, pitch in (("normal", 100), ("anomaly", 170)):
        (machine / "test" / condition).mkdir(parents=True)
        for clip in range(4):
            soundfile.write(machine / "test" / condition / f"{clip}.wav", hum(rng, pitch), RATE)
    fit, push = ["fit", str(machine), "--output", str(detector)], ["push", str(detector), "me/fan"]
    told = "Official score of DCASE Task 2, {}, on 4 normal and 4 anomalous test recordings"

    assert main(fit) == 0
    assert "official score 2020: 100.00 % (95 % confidence interval" in capsys.readouterr().out
    assert "Official score" in (detector / "report.html").read_text()
    assert main(push) == 0
    repo = hub.repo("me/fan")
    assert told.format(2020) in repo.files["README.md"].decode() and "scores.parquet" in repo.files

    # What was measured goes with the detector that it was measured on.
    (machine / "test").rename(own_machine / "kept")
    assert main(fit) == 0 and main(push) == 0
    assert b"## Measured\n\nNothing yet" in repo.files["README.md"] and "scores.parquet" not in repo.files

    # Later, with other recordings that have domains.
    (own_machine / "later").mkdir()
    (own_machine / "kept").rename(own_machine / "later" / "test")
    files = sorted(file.relative_to(own_machine / "later") for file in (own_machine / "later").rglob("*.wav"))
    rows = [f"{file.as_posix()},{('source', 'target')[place % 2]}" for place, file in enumerate(files)]
    (own_machine / "later" / "metadata.csv").write_text("\n".join(["file_name,domain", *rows]))
    assert main(["evaluate", str(detector), "--truth", str(own_machine / "later"), "--resamples", "20"]) == 0
    assert main(push) == 0 and told.format(2025) in repo.files["README.md"].decode()
    assert "| my_fan | 100.00 |" in repo.files["README.md"].decode()
    assert main(["evaluate", str(detector), "--truth", str(own_machine / "new")]) == 2
    assert "nothing can be measured" in capsys.readouterr().err

    # A smaller one, straight from the Hub.
    small = ["compact", "me/fan", "--output", str(own_machine / "small"), "--num-references", "5"]
    assert main([*small, "--test", str(own_machine / "later")]) == 0
    assert "official score 2025: 100.00 -> 100.00 %" in capsys.readouterr().out
    card = (own_machine / "small" / "README.md").read_text()
    assert "from 100.00 to 100.00 %" in card and told.format(2025) in card

    # Anomalies alone measure nothing, and that is said.
    (own_machine / "later" / "test" / "anomaly").rename(machine / "anomaly")
    assert main(fit) == 0
    assert "was not measured: that takes normal recordings in test/normal" in capsys.readouterr().err


def test_reasons_and_recordings_without_a_decision(own_machine, capsys):
    detector, new = own_machine / "det", own_machine / "new"
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(detector)]) == 0
    soundfile.write(new / "silent.wav", np.zeros(RATE), RATE)
    capsys.readouterr()
    command = ["score", str(detector), str(new), "--explain", "--json", str(own_machine / "result.json")]
    assert main([*command, "--csv", str(own_machine / "result.csv")]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 recordings are anomalous, 1 without a decision, 0 skipped" in printed
    assert "no decision, silent: the peak lies below -90 dB" in printed
    assert "nearest normal recording: my_fan/" in printed
    lines = [json.loads(line) for line in (own_machine / "result.json").read_text().splitlines()]
    faulty, healthy, silent = sorted(lines, key=lambda line: line["file"])
    assert faulty["is_anomaly"] and any(" Hz" in reason for reason in faulty["reasons"])
    assert faulty["reasons"][0] in printed and healthy["reasons"] == []
    assert printed.count("nothing out of the ordinary") == 1
    assert silent["is_anomaly"] is None and silent["abstain_reason"].startswith("silent")
    with open(own_machine / "result.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows[faulty["file"]]["reasons"] == "; ".join(faulty["reasons"])
    assert rows[silent["file"]]["is_anomaly"] == "" and rows[silent["file"]]["abstain_reason"]


def test_every_bad_recording_is_named_or_skipped_and_listed(own_machine, capsys):
    """Sixty recordings as recorders write them, three of them unusable."""
    rng = np.random.default_rng(1)
    folder = own_machine / "mixed"
    folder.mkdir()
    for clip in range(57):
        rate, channels, subtype = ((44_100, 2, "PCM_24"), (48_000, 1, "FLOAT"), (8_000, 1, "PCM_16"))[clip % 3]
        samples = np.tile(hum(rng, seconds=1 + clip % 2, rate=rate)[:, None], (1, channels))
        soundfile.write(folder / f"{clip:02d}.wav", samples, rate, subtype=subtype)
    whole = (folder / "00.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("Measured on Monday by Jo.\n" * 20)

    command = ["fit", str(folder), "--output", str(own_machine / "det")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "3 of 60 recordings cannot be used" in error
    for words in (
        "truncated.wav: is truncated",
        "empty.wav: cannot be read as audio, the file has 0 bytes",
        "text.wav",
    ):
        assert words in error
    assert not (own_machine / "det").exists()

    assert main([*command, "--on-bad-audio", "skip"]) == 0
    report = (own_machine / "det" / "report.html").read_text()
    for name in ("truncated.wav", "empty.wav", "text.wav"):
        assert name in report
    told = capsys.readouterr()
    assert "57 normal recordings" in told.out and told.err.count("skipped: ") == 3

    assert main(["score", str(own_machine / "det"), str(folder)]) == 2
    assert main(["score", str(own_machine / "det"), str(folder), "--on-bad-audio", "skip"]) == 0
    assert "3 skipped" in capsys.readouterr().out


def test_bad_input_gives_two_and_says_what_to_do(own_machine, capsys):
    for arguments, words in (
        (["fit", str(own_machine / "my_fan")], "--output is missing"),
        (["fit", str(own_machine / "nothing"), "--output", "x"], "there is no such file or folder"),
        (["fit", str(own_machine / "my_fan"), "--output", "x", "--chanel", "1"], "unknown options: --chanel 1"),
        (["fit", str(own_machine / "my_fan"), "--output", "x", "--false-alarm-rate", "5"], "false_alarm_rate is 5.0"),
        (["score", str(own_machine / "my_fan"), str(own_machine / "new")], "holds no detector.json"),
        (["run", str(own_machine)], "there is no such recipe"),
        (
            ["factory", str(own_machine / "factory"), "--num-tests", "3"],
            "num_tests is no option, did you mean num_t",
        ),
        (["evaluate", str(own_machine / "new")], "--truth is missing"),
    ):
        assert main(arguments) == 2, arguments
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["score", "a", "b", "--unknown"])
    assert ended.value.code == 2


TINY = """
seed: 0
factory: {machines: [fan, valve], num_source_train: 10, num_target_train: 2, num_test: 3, clip_seconds: 2.0}
pretrain:
  model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, decoder_layers: 1}
  crop_seconds: 1
  num_masks: 2
  batch_size: 4
  max_steps: 4
  save_steps: 2
cluster: {num_clusters: 3}
finetune: {crop_seconds: 1, batch_size: 4, max_steps: 4, save_steps: 2}
evaluate: {resamples: 20}
"""


def test_a_recipe_runs_from_end_to_end_and_again_only_what_changed(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(TINY)
    command = ["run", str(tmp_path), "--output_dir", str(tmp_path / "runs")]
    assert main(command) == 0
    first = capsys.readouterr().out
    for words in (
        "official score 2025",
        "spectral statistics",
        "mean log-mel",
        "pseudo-attributes against",
        "report:",
    ):
        assert words in first
    folders = {folder.name.rsplit("-", 1)[0]: folder for folder in (tmp_path / "runs").iterdir()}
    stages = ["data", "pretrain", "embed", "cluster", "finetune", "fit", "score", "evaluate", "report"]
    assert sorted(folders) == sorted(stages)
    detector = folders["fit"] / "detector"
    published = {"README.md", "config.json", "detector.json", "memory_bank.safetensors", "encoder"}
    published |= {"normal_sounds.safetensors", "evaluation.json", "scores.parquet", "recipe.yaml", "compute.json"}
    assert {file.name for file in detector.iterdir()} == published
    card = (detector / "README.md").read_text()
    assert "| finetune | " in card and "## Measured" in card and "of 6 normal ones" in card
    report = (folders["report"] / "report.html").read_text()
    assert report.count("Clusters of normal recordings") == 1 and 'alt="Dendrogram"' in report  # valve hides its own
    submission = {file.name for file in (folders["score"] / "submission").iterdir()}
    assert "anomaly_score_fan_section_00_test.csv" in submission
    scored = read_table(folders["score"] / "test.parquet")
    assert len(scored) == 2 * 4 * 3

    assert main(command) == 0
    again = capsys.readouterr().out
    assert again.count("as before") == len(stages)
    assert again.split("official score 2025")[1] == first.split("official score 2025")[1]

    assert main([*command, "--fit.num_neighbors", "2"]) == 0
    assert capsys.readouterr().out.count("as before") == 5  # data to fine-tuning

    # The same seed in another folder gives the same scores and pseudo-attributes to the bit, another seed does not.
    scores, names = {}, {}
    for folder, seed in (("same", 0), ("other", 1)):
        output_dir = tmp_path / folder
        assert main(["score", str(output_dir), "x"]) == 2
        assert main(["evaluate", str(tmp_path), "--output_dir", str(output_dir), "--seed", str(seed)]) == 0
        (table,) = output_dir.glob("score-*/test.parquet")
        scores[folder] = read_table(table)["anomaly_score"][:]
        (table,) = output_dir.glob("cluster-*/train.parquet")
        names[folder] = read_table(table)["pseudo_attribute"][:]
    assert scores["same"] == scored["anomaly_score"][:]
    assert names["same"] == read_table(folders["cluster"] / "train.parquet")["pseudo_attribute"][:]
    assert scores["other"] != scores["same"] and names["other"] != names["same"]

    evaluation = json.loads((folders["evaluate"] / "evaluation.json").read_text())
    assert set(evaluation["machines"]) == {"fan", "valve"} and len(evaluation["clusters"]) == 1
    # The factory's truth, read from the submission files alone, gives the same score.
    (factory,) = (tmp_path / "runs").glob("data-*/factory")
    capsys.readouterr()
    assert main(["evaluate", str(folders["score"] / "submission"), "--truth", str(factory), "--resamples", "0"]) == 0
    assert f"official score 2025: {100 * evaluation['official_score']:.2f} %" in capsys.readouterr().out


def test_true_attributes_of_a_file_are_the_supervised_path_to_the_bit(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(TINY)
    supervised = [str(tmp_path), "--output_dir", str(tmp_path / "supervised"), "--factory.hidden_machines=0"]
    assert main(["evaluate", *supervised]) == 0
    (truth,) = (tmp_path / "supervised").glob("data-*/factory/ground_truth")
    assert not list(truth.glob("*_attributes_*")), "nothing is hidden"
    hidden = ["evaluate", str(tmp_path), "--output_dir", str(tmp_path / "hidden")]
    assert main(hidden) == 0
    (table,) = (tmp_path / "hidden").glob("data-*/factory/ground_truth/valve_attributes_00.csv")
    handed = tmp_path / "told" / table.name
    handed.parent.mkdir()
    handed.write_bytes(table.read_bytes())
    assert main([*hidden[:2], "--output_dir", str(tmp_path / "told/runs"), "--attributes-file", str(handed)]) == 0

    rows = {}
    for name, runs in (("supervised", "supervised"), ("hidden", "hidden"), ("told", "told/runs")):
        (scored,) = (tmp_path / runs).glob("score-*/test.parquet")
        (clustered,) = (tmp_path / runs).glob("cluster-*/train.parquet")
        (weights,) = (tmp_path / runs).glob("finetune-*/encoder/model.safetensors")
        labels = read_table(clustered)
        rows[name] = (read_table(scored)["anomaly_score"][:], weights.read_bytes(), labels["attribute_label"][:])
        assert (set(labels["pseudo_attribute"][:]) == {None}) == (name != "hidden")
    assert rows["told"] == rows["supervised"]
    assert rows["told"][0] != rows["hidden"][0]

    strange = tmp_path / "strange_attributes_00.csv"
    strange.write_text("file_name,d1p,d1v\nsection_00_source_train_normal_0000_noAttribute.wav,speed,3\n")
    capsys.readouterr()
    assert main([*hidden, "--attributes-file", str(strange)]) == 2
    assert "of none of the 12 clips whose attributes are hidden" in capsys.readouterr().err


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
    assert main(["cluster", str(tmp_path), *runs, "--cluster.names_file", str(table)]) == 0
    named = [
        set(read_table(file)["pseudo_attribute"][:]) for file in (tmp_path / "runs").glob("cluster-*/train.parquet")
    ]
    assert {None, "idle", "cluster=2"} in named and {None, "cluster=0", "cluster=1", "cluster=2"} in named
    capsys.readouterr()
    assert main(["clusters", str(tmp_path), "--csv", str(table), *runs]) == 2
    assert "is there already" in capsys.readouterr().err


def test_help_of_a_stage_lists_the_options_of_a_recipe(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    assert "--finetune.margin" in capsys.readouterr().out
