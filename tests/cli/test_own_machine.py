import csv
import json
import re
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd.audio.recording import Recording
from hf_asd.cli import main
from hf_asd.detection.decision import Decision
from hf_asd.detection.events.recordings import LINE_FIELDS


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


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_fit_and_score_a_folder(own_machine, capsys):
    detector = own_machine / "det"
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(detector)]) == 0
    assert {file.name for file in detector.iterdir()} == {
        "README.md",
        "compute.json",
        "config.json",
        "detector.json",
        "memory_bank.safetensors",
        "normal_profiles.safetensors",
        "probe.json",
        "report.html",
        "training_clips.parquet",
        "training_clips.safetensors",
    }
    assert re.search(r"\| fit \| \d+ s \| .*logical cores", (detector / "README.md").read_text())
    captured = capsys.readouterr()
    assert "my_fan: 12 normal recordings, threshold" in captured.out
    assert "that needs 20 normal recordings or more" in captured.err  # 5 % cannot be promised from 12

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


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_the_encoder_of_the_package_is_used_on_demand(own_machine, capsys):
    rng, folder = np.random.default_rng(1), own_machine / "my_fan"
    for clip in range(12, 20):
        soundfile.write(folder / f"{clip:02d}.wav", hum(rng), RATE)
    for name, options in {"both": ["--encoder", "bundled"], "alone": []}.items():
        assert main(["fit", str(folder), "--output", str(own_machine / name), *options]) == 0
    assert not (own_machine / "alone" / "encoder").exists()
    learned = json.loads((own_machine / "both" / "detector.json").read_text())["config"]
    assert learned["with_statistics"] and learned["pooling"] == "bands_std"
    assert "tokens pooled by bands_std, beside spectral statistics" in (own_machine / "both" / "README.md").read_text()
    capsys.readouterr()
    assert main(["score", str(own_machine / "both"), str(own_machine / "new")]) == 0
    assert "1 of 2 recordings are anomalous" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_an_evaluation_on_labeled_recordings_is_pushed(hub, own_machine, capsys):
    rng, machine, detector = np.random.default_rng(1), own_machine / "my_fan", own_machine / "det"
    for condition, pitch in (("normal", 100), ("anomaly", 170)):
        (machine / "test" / condition).mkdir(parents=True)
        for clip in range(4):
            soundfile.write(machine / "test" / condition / f"{clip}.wav", hum(rng, pitch), RATE)
    fit, push = ["fit", str(machine), "--output", str(detector)], ["push", str(detector), "me/fan"]
    measured = "Official score of DCASE Task 2 of {} on 4 normal and 4 anomalous test recordings"

    assert main(fit) == 0
    assert "official score 2020: 100.00 % (95 % confidence interval" in capsys.readouterr().out
    assert "Official score" in (detector / "report.html").read_text()
    assert main(push) == 0
    repo = hub.repo("me/fan")
    assert measured.format(2020) in repo.files["README.md"].decode() and "scores.parquet" in repo.files

    # An evaluation belongs to the detector that it was made with.
    (machine / "test").rename(own_machine / "kept")
    assert main(fit) == 0 and main(push) == 0
    assert b"## Evaluation\n\nNot evaluated" in repo.files["README.md"] and "scores.parquet" not in repo.files

    # Later, with other recordings that have domains.
    (own_machine / "later").mkdir()
    (own_machine / "kept").rename(own_machine / "later" / "test")
    files = sorted(file.relative_to(own_machine / "later") for file in (own_machine / "later").rglob("*.wav"))
    rows = [f"{file.as_posix()},{('source', 'target')[place % 2]}" for place, file in enumerate(files)]
    (own_machine / "later" / "metadata.csv").write_text("\n".join(["file_name,domain", *rows]))
    assert main(["evaluate", str(detector), "--truth", str(own_machine / "later"), "--resamples", "20"]) == 0
    assert main(push) == 0 and measured.format(2025) in repo.files["README.md"].decode()
    assert "| my_fan | 100.00 |" in repo.files["README.md"].decode()
    assert main(["evaluate", str(detector), "--truth", str(own_machine / "new")]) == 2
    assert "nothing can be measured" in capsys.readouterr().err

    # A smaller one, straight from the Hub.
    small = ["compact", "me/fan", "--output", str(own_machine / "small"), "--num-references", "5"]
    assert main([*small, "--test", str(own_machine / "later")]) == 0
    assert "official score 2025: 100.00 -> 100.00 %" in capsys.readouterr().out
    card = (own_machine / "small" / "README.md").read_text()
    assert "from 100.00 to 100.00 %" in card and measured.format(2025) in card

    # Anomalies alone measure nothing, and a message says so.
    (own_machine / "later" / "test" / "anomaly").rename(machine / "anomaly")
    assert main(fit) == 0
    assert "was not measured: that needs normal recordings in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_reasons_and_recordings_without_a_decision(own_machine, capsys):
    detector, new = own_machine / "det", own_machine / "new"
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(detector)]) == 0
    soundfile.write(new / "silent.wav", np.zeros(RATE), RATE)
    capsys.readouterr()
    command = ["score", str(detector), str(new), "--explain", "--json", str(own_machine / "result.json")]
    assert main([*command, "--csv", str(own_machine / "result.csv")]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 recordings are anomalous, 1 without a decision, 0 skipped" in printed
    assert "no decision, silent: no sound above -90 dB" in printed
    assert "nearest normal recording: my_fan/" in printed
    lines = [json.loads(line) for line in (own_machine / "result.json").read_text().splitlines()]
    faulty, healthy, silent = sorted(lines, key=lambda line: line["file"])
    assert list(faulty) == ["file", *(field.name for field in fields(Decision)), *LINE_FIELDS]
    texts = [reason["text"] for reason in faulty["reasons"]]
    assert faulty["is_anomaly"] and any(" Hz" in text for text in texts)
    assert texts[0] in printed and healthy["reasons"] == []
    count, whole = healthy["num_normal_as_high"], healthy["num_normal_clips"]
    assert f"{count} of {whole} normal recordings score" in printed
    assert silent["is_anomaly"] is None and silent["abstain_reason"].startswith("silent")
    with open(own_machine / "result.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows[faulty["file"]]["reasons"] == "; ".join(texts)
    assert rows[silent["file"]]["is_anomaly"] == "" and rows[silent["file"]]["abstain_reason"]


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_every_bad_recording_is_named_or_skipped_and_listed(own_machine, capsys):
    """Two dozen recordings as recorders write them, three of them unusable."""
    rng = np.random.default_rng(1)
    folder = own_machine / "mixed"
    folder.mkdir()
    for clip in range(21):
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
    assert "3 of 24 recordings cannot be used" in error
    for words in (
        "truncated.wav: is cut off",
        "empty.wav: cannot be read as audio, the file has 0 bytes",
        "text.wav",
    ):
        assert words in error
    assert not (own_machine / "det").exists()

    assert main([*command, "--on-bad-audio", "skip"]) == 0
    report = (own_machine / "det" / "report.html").read_text()
    for name in ("truncated.wav", "empty.wav", "text.wav"):
        assert name in report
    captured = capsys.readouterr()
    assert "21 normal recordings" in captured.out and captured.err.count("skipped: ") == 3

    assert main(["score", str(own_machine / "det"), str(folder)]) == 2
    assert main(["score", str(own_machine / "det"), str(folder), "--on-bad-audio", "skip"]) == 0
    assert "3 skipped" in capsys.readouterr().out
    result = own_machine / "result.csv"
    bad = [str(folder / "empty.wav"), "--on-bad-audio", "skip", "--csv", str(result)]
    assert main(["score", str(own_machine / "det"), *bad]) == 2
    error = capsys.readouterr().err
    assert "skipped: " in error and "none of the 1 recordings can be used, so that nothing was decided" in error
    assert not result.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_bad_input_ends_with_code_two_and_says_what_to_do(own_machine, capsys):
    fan, new = str(own_machine / "my_fan"), str(own_machine / "new")
    assert main(["fit", fan, "--output", str(own_machine / "det")]) == 0
    for arguments, words in (
        (["fit", str(own_machine / "nothing"), "--output", "x"], "there is no such file or folder"),
        (["score", fan, new], "holds no detector.json"),
        (
            ["score", str(own_machine / "det"), new, "--machine", "pump"],
            "--machine is pump; this detector knows my_fan",
        ),
        (["run", str(own_machine)], "there is no such recipe"),
    ):
        assert main(arguments) == 2, arguments
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pooling", "gem"], "--pooling is 'gem', which is for an encoder that you name"),
        (["--pooling", "gem", "--encoder", "none"], "--pooling is 'gem', which is for an encoder that you name"),
        (["--layer", "2", "--encoder", "null"], "--layer is 2, which is for an encoder that you name"),
        (["--with-statistics"], "--with-statistics is True, which is for an encoder that you name"),
        (
            ["--statistics", "mean", "--encoder", "bundled"],
            "--statistics is 'mean', which is for detectors without an encoder",
        ),
    ],
)
def test_an_option_that_the_encoder_does_not_use_is_an_error(own_machine, options, words, capsys):
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(own_machine / "det"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (own_machine / "det").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_options_of_the_config_are_flags(own_machine):
    options = ["--encoder", "none", "--statistics", "mean", "--backends", "cosine", "euclidean", "--fusion", "mean"]
    options += ["--num-neighbors", "2", "--threshold-method", "gamma", "--false-alarm-rate", "0.01"]
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(own_machine / "det"), *options]) == 0
    config = json.loads((own_machine / "det" / "detector.json").read_text())["config"]
    assert config["statistics"] == "mean" and config["backends"] == ["cosine", "euclidean"]
    assert config["num_neighbors"] == 2 and config["threshold_method"] == "gamma"


@pytest.mark.slow
def test_fit_and_score_decode_each_recording_once(own_machine, monkeypatch):
    """Also where the report draws recordings and reasons are given; headers may be looked at before."""
    decoded = Counter()
    blocks = Recording.blocks

    def count(recording, *args, **kwargs):
        decoded[recording.name] += 1
        return blocks(recording, *args, **kwargs)

    monkeypatch.setattr(Recording, "blocks", count)  # only hf_asd.audio opens recordings, as test_structure checks
    (own_machine / "my_fan" / "test" / "anomaly").mkdir(parents=True)
    (own_machine / "new" / "faulty.wav").rename(own_machine / "my_fan" / "test" / "anomaly" / "faulty.wav")
    assert main(["fit", str(own_machine / "my_fan"), "--output", str(own_machine / "det")]) == 0
    assert len(decoded) == 13 and set(decoded.values()) == {1}
    decoded.clear()
    assert main(["score", str(own_machine / "det"), str(own_machine / "new"), "--explain"]) == 0
    assert list(decoded.values()) == [1]
