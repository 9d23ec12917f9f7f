"""Whatever the user can mend ends a command with one line that says what, without a traceback, and with its code."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict
from huggingface_hub import constants
from sounds import RATE, hum

from hf_asd import (
    AnomalyDetector,
    EatConfig,
    EatFeatureExtractor,
    EatModel,
    SpectralStatistics,
    TransformerEncoder,
    embed,
    load_folder,
)
from hf_asd.audio.clip_store import ClipStore
from hf_asd.cli import main
from hf_asd.clustering.config import ClusteringConfig
from hf_asd.detection.alarm import AlarmPolicy
from hf_asd.detection.config import DetectorConfig, MonitorConfig
from hf_asd.hub.manifest import detector_files
from hf_asd.hub_errors import HubError
from hf_asd.options import LARGEST_WHOLE_NUMBER, accepted, kinds_of, option, parse_option
from hf_asd.recipe.config import DataConfig, EmbedConfig, EvaluateConfig, Recipe
from hf_asd.recipe.loading import load_recipe
from hf_asd.simulation.config import FactoryConfig
from hf_asd.training.config import FinetuneConfig, LoraOptions, PretrainConfig, PretrainingData


NO_HUB = "http://127.0.0.1:9"
CONFIGS = [AlarmPolicy, ClusteringConfig, DataConfig, DetectorConfig, EmbedConfig, EvaluateConfig, FactoryConfig]
CONFIGS += [FinetuneConfig, LoraOptions, MonitorConfig, PretrainConfig, PretrainingData, Recipe]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Ten normal recordings in `fan`, and beside it a new, a faulty and a silent one."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    (folder / "fan").mkdir()
    for clip in range(10):
        soundfile.write(folder / "fan" / f"{clip:02d}.wav", hum(rng), RATE)
    soundfile.write(folder / "new.wav", hum(rng), RATE)
    soundfile.write(folder / "faulty.wav", hum(rng, 170), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    return folder


@pytest.fixture(scope="module")
def fitted(recordings):
    return AnomalyDetector(None).fit(load_folder(recordings / "fan"))


@pytest.fixture
def detector(fitted, tmp_path):
    return fitted.save_pretrained(tmp_path / "det")


def refused(arguments: list, capsys) -> str:
    """The error of a command that ends with 2, in one line."""
    try:
        code = main([str(one) for one in arguments])
    except SystemExit as ended:
        code = ended.code
    error = capsys.readouterr().err
    assert code == 2 and "Traceback" not in error, error
    return error.strip().splitlines()[-1]


# Exit codes


@pytest.mark.parametrize(
    ("files", "options", "code"),
    [
        (["new.wav"], ["--fail-on-anomaly"], 0),
        (["new.wav", "faulty.wav"], [], 0),
        (["new.wav", "faulty.wav", "silent.wav"], ["--fail-on-anomaly"], 1),
        (["new.wav", "silent.wav"], ["--fail-on-anomaly"], 3),
        (["silent.wav"], [], 0),
        (["new.wav", "empty.wav"], ["--fail-on-anomaly", "--on-bad-audio", "skip"], 3),
        (["empty.wav"], ["--on-bad-audio", "skip"], 2),
        (["empty.wav"], [], 2),
    ],
)
def test_no_decision_has_a_code_of_its_own(recordings, detector, files, options, code, capsys):
    (recordings / "empty.wav").write_bytes(b"")
    assert main(["score", str(detector), *(str(recordings / file) for file in files), *options]) == code
    if code == 2 and options:
        assert "none of the 1 recordings can be used" in capsys.readouterr().err


def test_fit_of_unusable_recordings_alone_says_so(tmp_path, capsys):
    (tmp_path / "fan").mkdir()
    (tmp_path / "fan" / "0.wav").write_bytes(b"")
    command = ["fit", tmp_path / "fan", "--output", tmp_path / "det", "--on-bad-audio", "skip"]
    assert main([str(word) for word in command]) == 2
    error = capsys.readouterr().err
    assert "can be used" in error and "0.wav" in error and not (tmp_path / "det").exists()


def test_version_and_codes_are_shown(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("hf-asd 0.")
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "0 done; 1 an anomaly was found, and 3 none was found" in printed and "130 stopped by Ctrl+C" in printed


def test_an_unexpected_error_keeps_its_traceback_and_has_another_code(recordings, detector, monkeypatch, capsys):
    monkeypatch.setattr("hf_asd.cli.score.table_lines", lambda *_: 1 / 0)
    assert main(["score", str(detector), str(recordings / "new.wav")]) == 4
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error and "this is an error of hf-asd itself" in error.splitlines()[-1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_too_little_memory_is_one_line(recordings, detector, error, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(AnomalyDetector, "score_recordings", fail)
    assert "there is not enough memory" in refused(["score", detector, recordings / "new.wav"], capsys)


# Where results go


def test_a_result_on_standard_output_stands_there_alone(recordings, detector, capsys):
    assert main(["score", str(detector), str(recordings / "new.wav"), "--json", "-"]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert json.loads(line)["is_anomaly"] is False and "0 of 1 recordings are anomalous" in captured.err


def test_places_are_refused_before_the_work_with_the_option(recordings, detector, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    new, fan, file = recordings / "new.wav", recordings / "fan", tmp_path / "file"
    for command, words in (
        (["score", detector, new, "--csv", tmp_path], f"--csv is {tmp_path}, which is a folder; give a file"),
        (["score", detector, new, "--json", file / "x"], f"--json is {file / 'x'}, but {file} cannot be written to"),
        (["score", detector, new, "--csv", "-", "--json", "-"], "--csv and --json name the same place"),
        (["fit", fan, "--output", file], f"--output is {file}, which is a file; give a folder"),
        (["fit", fan, "--output", tmp_path / "encoder"], "encoder: holds config.json, but no detector.json"),
        (["compact", detector, "--output", file / "x"], "cannot be written to (Not a directory)"),
        (["run", tmp_path, "--factory.seed=1", "--output_dir", file], f"output_dir is {file}, which is a file"),
    ):
        (tmp_path / "recipe.yaml").write_text("pretrain: {}\n")
        assert words in refused(command, capsys), command


def test_a_result_that_cannot_be_written_does_not_lose_the_others(recordings, detector, tmp_path, monkeypatch, capsys):
    def full(path, text):
        if path.suffix == ".json":
            raise OSError(f"{path}: cannot be written, the disk is full.")
        path.write_text(text)

    monkeypatch.setattr("hf_asd.cli.results.write_text", full)
    places = ["--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json"]
    assert main([str(word) for word in ["score", detector, recordings / "new.wav", *places]]) == 2
    captured = capsys.readouterr()
    assert "a.json: cannot be written, the disk is full" in captured.err
    assert "0 of 1 recordings are anomalous" in captured.out and (tmp_path / "a.csv").is_file()


@pytest.mark.usefixtures("short_reports")
def test_a_report_that_fails_does_not_lose_the_detector(recordings, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError("no report today")

    command = [str(word) for word in ["fit", recordings / "fan", "--encoder", "none", "--output", tmp_path / "det"]]
    assert main(command) == 0
    (tmp_path / "det" / "notes.txt").write_text("mine")
    (tmp_path / "det" / "evaluation.json").write_text("{}")
    monkeypatch.setattr("hf_asd.reporting.report.write_report", fail)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "the detector is saved; what follows it failed" in error and "no report today" in error.splitlines()[-1]
    names = {file.name for file in (tmp_path / "det").iterdir()}
    assert {"detector.json", "README.md", "notes.txt"} <= names and not {"report.html", "evaluation.json"} & names
    assert AnomalyDetector.from_pretrained(tmp_path / "det").machines.keys() == {"fan"}


def test_decoded_recordings_name_the_temporary_folder_where_it_is_full(monkeypatch):
    class Full:
        def seek(self, *_):
            return 0

        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="cannot keep decoded recordings there .No space left on device.*Set TMPDIR"):
        with ClipStore() as store:
            store._file.close()
            monkeypatch.setattr(store, "_file", Full())
            store.add("a", np.zeros(5, np.float32))


# Names and characters


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_pipe_of_another_encoding_gets_escaped_names(recordings, detector, tmp_path, encoding, monkeypatch):
    name = tmp_path / "ventilátor_風扇.wav"
    name.write_bytes((recordings / "new.wav").read_bytes())
    arguments = ["score", str(detector), str(name), "--csv", str(tmp_path / "result.csv")]
    printed = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(printed, encoding=encoding))  # strict, as that of a pipe is
    assert main(arguments) == 0
    assert b"\\u98a8\\u6247.wav" in printed.getvalue()
    assert "ventilátor_風扇.wav" in (tmp_path / "result.csv").read_text(encoding="utf-8")


def test_rows_with_names_that_are_not_utf8_are_written(tmp_path):
    from hf_asd.cli.results import write_result
    from hf_asd.detection.decision_rows import rows_as_csv, rows_as_json

    rows = [{"file": "a\udcff.wav", "is_anomaly": False}]
    write_result(tmp_path / "a.csv", rows_as_csv(rows, ["file", "is_anomaly"]))
    write_result(tmp_path / "a.json", rows_as_json(rows))
    assert (tmp_path / "a.csv").read_text() == "file,is_anomaly\na\\udcff.wav,False\n"
    assert json.loads((tmp_path / "a.json").read_text())["file"] == "a\udcff.wav"


# Options


def numbers_of(config):
    """The options of a config that are numbers."""
    hints = get_type_hints(config)
    for field in fields(config):
        kinds = kinds_of(hints[field.name])
        if {int, float} & set(kinds) or "float" in str(hints[field.name]):
            yield pytest.param(field, hints[field.name], id=f"{config.__name__}.{field.name}")


NUMBERS = [one for config in CONFIGS for one in numbers_of(config)]


@pytest.mark.parametrize(("field", "annotation"), NUMBERS)
def test_every_number_has_a_lower_bound_and_is_finite(field, annotation):
    if field.name != "layer":  # counted from the last one backwards, by negative numbers
        assert {"at_least", "above"} & set(field.metadata), f"{field.name} needs a lower bound"
    kinds = {list, tuple} & {getattr(kind, "__origin__", None) for kind in kinds_of(annotation)}
    for value in ("nan", "inf", "-inf", "1e999", 10**30, -(10**30)):
        given = [value, value] if kinds and float not in kinds_of(annotation) else value
        if value in ("inf", "1e999") and field.metadata.get("may_be_infinite"):
            assert parse_option("x", given, annotation, field.metadata) == math.inf
            continue
        if value == 10**30 and int not in kinds_of(annotation) and "at_most" not in field.metadata:
            continue  # a huge number with a fraction is only huge
        with pytest.raises(ValueError, match="^x is .*; accepted are"):
            parse_option("x", given, annotation, field.metadata)


def test_numbers_in_options_by_name_are_finite():
    annotation = get_type_hints(PretrainConfig)["training"]
    for value in (math.nan, 10**30, [1.0, math.inf]):
        with pytest.raises(ValueError, match="x is .*; accepted are"):
            parse_option("x", {"learning_rate": value}, annotation, {})
    assert str(LARGEST_WHOLE_NUMBER) not in accepted(int, option(0).metadata)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--pretrain.max_steps=-5", "pretrain.max_steps is -5; accepted are whole numbers from 1, none"),
        ("--finetune.max_steps=0", "finetune.max_steps is 0; accepted are whole numbers from 1, none"),
        ("--pretrain.training.max_grad_norm=-1", "pretrain.training.max_grad_norm is -1; accepted are numbers from 0"),
        (
            "--finetune.training.logging_steps=often",
            "finetune.training.logging_steps is 'often'; accepted are numbers",
        ),
        ("--pretrain.learning_rate=.nan", "pretrain.learning_rate is nan; accepted are finite numbers"),
        ("--pretrain.snr_db=[0, .inf]", "pretrain.snr_db is [0.0, inf]; accepted are finite numbers"),
        ("--seed=[1", "--seed: is not valid YAML in line 1"),
    ],
)
def test_absurd_options_of_training_are_refused(tmp_path, override, words, capsys):
    (tmp_path / "recipe.yaml").write_text("factory: {}\n")
    assert words in refused(["run", tmp_path, override, f"--output_dir={tmp_path / 'runs'}"], capsys)
    assert not (tmp_path / "runs").exists()


# Recipes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1\n", "recipe.yaml: is not valid YAML in line 2, column 1"),
        (b"", "recipe.yaml: is empty; a recipe needs a factory section or data.path"),
        (b"# only a comment\n", "recipe.yaml: is empty"),
        (b"- factory\n", "recipe.yaml: holds a list; accepted are sections with options"),
        (b"text\n", "recipe.yaml: holds a str; accepted are sections"),
        ("factory: {}\nreport: {title: Lüfter}\n".encode("cp1252"), "recipe.yaml: is not text in UTF-8"),
        ("factory: {}\n".encode("utf-16-le"), "recipe.yaml: is not text in UTF-8"),
        (b"\x00\x01\x02", "recipe.yaml: is not text in UTF-8"),
        (b"seed: 1\nfactory: {}\nseed: 2\n", "in line 3, column 1: seed is there twice, first in line 1"),
        (b"a: !!python/object/apply:os.system [ls]\n", "is not valid YAML in line 1"),
        (b"factory: {seed: &a [*a]}\n", "an alias refers to itself"),
        (b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (97 + k, 97 + k, b",".join([b"*%c" % (96 + k)] * 10)) for k in range(1, 9)
        ), "an alias stands for more than 100000 values"),
        (b"[" * 5000, "recipe.yaml: is nested too deeply"),
        (b"1: 2\n", "1 is an unknown option"),
        (b"factory: {}\nattributes_file: nowhere.csv\n", "attributes_file is nowhere.csv; there is no such file"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_read_is_named(tmp_path, content, words, capsys):
    (tmp_path / "recipe.yaml").write_bytes(content)
    assert words in refused(["run", tmp_path], capsys)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_recipes_are_read_as_windows_writes_them(tmp_path, encoding):
    text = "factory: {}\r\nreport: {title: Lüfter}\r\nfinetune: {training: {max_grad_norm: 1e-1}}\r\n"
    (tmp_path / "recipe.yaml").write_bytes(text.encode(encoding))
    recipe = load_recipe(tmp_path)
    assert recipe.report.title == "Lüfter" and recipe.finetune.training == {"max_grad_norm": 0.1}


def test_results_below_the_data_are_refused(recordings, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("data: {year: none}\n")
    output = recordings / "runs" / "first"
    command = ["run", tmp_path, f"--data.path={recordings}", f"--output_dir={output}"]
    assert f"output_dir is {output}, which lies in data.path" in refused(command, capsys)
    assert not (recordings / "runs").exists()


# Detectors


def edit(folder: Path, change) -> None:
    content = json.loads((folder / "detector.json").read_text())
    changed = change(content)
    (folder / "detector.json").write_text(json.dumps(content if changed is None else changed))


def without(name):
    return lambda content: {key: value for key, value in content.items() if key != name}


def machine(**values):
    return lambda content: content["machines"]["fan"].update(values)


def config(**values):
    return lambda content: content["config"].update(values)


ODD = {
    "list": (lambda content: [content], "is not the manifest of a detector"),
    "null": (lambda content: "text", "is not the manifest of a detector"),
    "no version": (without("format_version"), "it has no format_version"),
    "version as text": (lambda content: {**content, "format_version": "3"}, "it has no format_version"),
    "future version": (lambda content: {**content, "format_version": 99}, "upgrade hf_asd"),
    "old version": (lambda content: {**content, "format_version": 1}, "fit the detector again"),
    "no machines": (without("machines"), "machines is missing"),
    "empty machines": (lambda content: {**content, "machines": {}}, "has no machines"),
    "no files": (without("files"), "files is missing"),
    "bank not listed": (lambda content: {**content, "files": {}}, "files does not list memory_bank.safetensors"),
    "no config": (without("config"), "config is missing"),
    "no summary": (without("training_summary"), "training_summary is missing"),
    "odd summary": (
        lambda content: {**content, "training_summary": {"fan": {}}},
        "training_summary.fan.clips is miss",
    ),
    "no profiles": (without("profiles"), "profiles is missing"),
    "odd profiles": (
        lambda content: {**content, "profiles": ["fan", "pump"]},
        "normal_profiles.safetensors: is damag",
    ),
    "threshold NaN": (machine(threshold=math.nan), "machines.fan.threshold is 'nan': Input should be a finite number"),
    "threshold inf": (machine(threshold=math.inf), "machines.fan.threshold is 'inf': Input should be a finite number"),
    "threshold null": (machine(threshold=None), "machines.fan.threshold is 'None': Input should be a valid number"),
    "threshold text": (machine(threshold="2"), "machines.fan.threshold is '2': Input should be a valid number"),
    "threshold true": (machine(threshold=True), "machines.fan.threshold is 'True': Input should be a valid number"),
    "threshold negative": (machine(threshold=-5.0), "the threshold of fan is -5, but the scores of its normal record"),
    "rate NaN": (machine(false_alarm_rate=math.nan), "machines.fan.false_alarm_rate is 'nan'"),
    "no clips": (machine(clip_ids={}), "one without normal recordings"),
    "odd clips": (machine(clip_ids={"source": [1]}), "machines.fan.clip_ids.source.0 is '1'"),
    "other domain": (machine(clip_ids={"target": ["a"]}), "memory_bank.safetensors: is damaged, or does not belong"),
    "other count": (machine(clip_ids={"source": ["a"]}), "has the shape (10, 296)"),
    "option missing": (lambda content: content["config"].pop("fusion") and None, "differs from the options of this"),
    "option unknown": (config(shine=1), "differs from the options of this version in shine"),
    "option of another type": (config(num_neighbors="many"), "config: num_neighbors is 'many'; accepted are whole"),
    "option out of range": (config(false_alarm_rate=7), "config: false_alarm_rate is 7.0; accepted are numbers"),
    "encoder elsewhere": (lambda content: {**content, "encoder": "../other"}, "encoder is '../other'; accepted are"),
    "encoder of the Hub": (lambda content: {**content, "encoder": "org/name"}, "encoder is 'org/name'; accepted are"),
}


@pytest.mark.parametrize(("change", "words"), ODD.values(), ids=ODD)
def test_an_odd_manifest_is_refused(detector, recordings, change, words, capsys):
    edit(detector, change)
    with pytest.raises(ValueError, match=".") as raised:
        AnomalyDetector.from_pretrained(detector)
    assert words in str(raised.value)
    assert words in refused(["score", detector, recordings / "new.wav"], capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 5000, "{}".encode("utf-16")])
def test_a_manifest_that_is_no_json_is_refused(detector, recordings, content, capsys):
    (detector / "detector.json").write_bytes(content)
    error = refused(["score", detector, recordings / "new.wav"], capsys)
    assert "detector.json: is not" in error or "it has no format_version" in error


@pytest.mark.parametrize(
    "name", ["../secret.json", "/etc/hostname", "encoder/../../secret.json", "a\\..\\b", "c:x", ""]
)
def test_files_outside_the_folder_are_refused_on_load_and_on_push(detector, name, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    edit(detector, lambda content: content["files"].update({name: {"bytes": 2, "sha256": "0" * 64}}))
    for use in (AnomalyDetector.from_pretrained, detector_files):
        with pytest.raises(ValueError, match="is not a file of this folder but leads out of it"):
            use(detector)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_out_of_the_folder_are_refused_on_load_and_on_push(detector, tmp_path):
    bank = detector / "memory_bank.safetensors"
    bank.rename(tmp_path / "elsewhere.safetensors")
    bank.symlink_to(tmp_path / "elsewhere.safetensors")
    for use in (AnomalyDetector.from_pretrained, detector_files):
        with pytest.raises(
            ValueError, match="memory_bank.safetensors is not a file of this folder but leads out of it"
        ):
            use(detector)
    bank.unlink()
    (tmp_path / "elsewhere.safetensors").rename(detector / "moved.safetensors")
    bank.symlink_to("moved.safetensors")  # inside the folder
    AnomalyDetector.from_pretrained(detector)
    (detector / "recipe.yaml").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("password")
    with pytest.raises(ValueError, match="recipe.yaml is not a file of this folder"):
        detector_files(detector)


def test_a_detector_that_is_replaced_while_it_is_loaded_is_loaded_again(detector, monkeypatch):
    """Another process may exchange it between two files."""
    from hf_asd.detection import persistence

    read, calls = persistence.read_manifest, []
    other = AnomalyDetector.from_pretrained(detector).set_false_alarm_rate(0.2)

    def replaced_meanwhile(folder, version):
        content = read(folder, version)
        calls.append(folder)
        if len(calls) == 1:
            other.save_pretrained(detector)
            raise ValueError("memory_bank.safetensors: was changed")
        return content

    monkeypatch.setattr(persistence, "read_manifest", replaced_meanwhile)
    threshold = AnomalyDetector.from_pretrained(detector).machines["fan"].threshold
    assert threshold == other.machines["fan"].threshold and len(calls) == 2


# Encoders and the Hub


def test_a_number_format_needs_an_encoder(detector, recordings, tmp_path, capsys):
    for command in (["score", detector, recordings / "new.wav"], ["monitor", detector, recordings / "new.wav"]):
        assert "this detector has spectral statistics alone" in refused([*command, "--precision", "bf16"], capsys)
    command = ["fit", recordings / "fan", "--output", tmp_path / "other", "--precision", "bf16"]
    assert "precision is 'bf16', which is for an encoder that you name" in refused(command, capsys)


@pytest.fixture
def unreachable(monkeypatch):
    """An address where no Hub answers; huggingface_hub reads it when it is imported."""

    def leave() -> None:
        monkeypatch.setattr(constants, "ENDPOINT", NO_HUB)
        template = NO_HUB + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return leave


@pytest.fixture
def encoder(tmp_path):
    options = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    TransformerEncoder(EatModel(EatConfig(**options)), EatFeatureExtractor()).save_pretrained(tmp_path / "eat")
    return tmp_path / "eat"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere: there is no such folder or file, and it is not an id on the Hub (ORG/NAME"),
        ("./no/where", "./no/where: there is no such folder or file"),
        ("no where/x", "is not a valid id on the Hub"),
        ("me/nothing", "me/nothing: there is no such repository on the Hub, or it is private"),
    ],
)
def test_a_wrong_encoder_is_named_at_once(hub, recordings, tmp_path, name, words, capsys):
    command = ["fit", recordings / "fan", "--output", tmp_path / "det", "--encoder", name]
    assert words in refused(command, capsys)


def test_a_folder_without_an_encoder_or_with_damaged_weights_is_named(recordings, encoder, tmp_path, capsys):
    command = ["fit", recordings / "fan", "--output", tmp_path / "det", "--encoder"]
    assert "fan: holds no config.json, so it is not the folder" in refused([*command, recordings / "fan"], capsys)
    weights = encoder / "model.safetensors"
    for content in (weights.read_bytes()[:-100], b"", b"<html>not found</html>"):
        weights.write_bytes(content)
        assert "its weights are incomplete or damaged" in refused([*command, encoder], capsys)
    weights.unlink()
    assert "model.safetensors" in refused([*command, encoder], capsys)


def test_a_hub_that_cannot_be_reached_is_named_at_once(recordings, tmp_path, unreachable, capsys):
    unreachable()
    command = ["fit", recordings / "fan", "--output", tmp_path / "det", "--encoder", "me/eat"]
    started = time.monotonic()
    assert "me/eat: the Hub at http://127.0.0.1:9 cannot be reached" in refused(command, capsys)
    with pytest.raises(HubError, match="cannot be reached .*Check the connection"):
        AnomalyDetector.from_pretrained("me/detector")
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "SSL_CERT_FILE",
            "/nowhere/ca.pem",
            "SSL_CERT_FILE is /nowhere/ca.pem; there is no such file or folder of cert",
        ),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR is /nowhere; there is no such"),
        ("HF_ENDPOINT", "hub.example", "HF_ENDPOINT is hub.example; accepted is an address such as https://hugg"),
    ],
)
def test_settings_of_the_hub_are_named(recordings, tmp_path, name, value, words, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    if name == "HF_ENDPOINT":  # read when huggingface_hub is imported
        monkeypatch.setattr(constants, "ENDPOINT", value)
    command = ["fit", recordings / "fan", "--output", tmp_path / "det", "--encoder", "me/eat"]
    assert words in refused(command, capsys)
    with pytest.raises(HubError, match=words[:30]):
        AnomalyDetector.from_pretrained("me/detector")


def test_offline_a_cached_encoder_is_used(hub, encoder, recordings, unreachable):
    files = {file.name: file.read_bytes() for file in encoder.iterdir()}
    hub.repo("me/eat").commit(files)
    online = AnomalyDetector("me/eat").fit(load_folder(recordings / "fan"))
    unreachable()
    hub.requests.clear()
    offline = AnomalyDetector("me/eat").fit(load_folder(recordings / "fan"))
    assert offline.machines["fan"].threshold == online.machines["fan"].threshold and hub.requests == []
    assert offline.base_model == "me/eat"


# Datasets that a user made


def rows_of(folder: Path, **columns) -> Dataset:
    files = sorted(str(file) for file in folder.glob("*.wav"))
    return Dataset.from_dict({"audio": files, **columns})


def test_missing_columns_get_defaults_and_decoded_audio_is_accepted(recordings, fitted):
    plain = rows_of(recordings / "fan")
    for rows in (plain, plain.cast_column("audio", Audio()), plain.cast_column("audio", Audio(decode=False))):
        detector = AnomalyDetector(None).fit(rows)
        assert detector.machines.keys() == {"machine"}
        assert detector.machines["machine"].threshold == fitted.machines["fan"].threshold
        scored = fitted.score(rows)
        assert scored["machine"][:] == ["fan"] * 10 and scored["clip_id"][:] == plain["audio"][:]
        embedded = embed(rows, SpectralStatistics())
        np.testing.assert_array_equal(embedded["embedding"], scored["embedding"])
        assert AnomalyDetector(None).fit(embedded).machines["machine"].threshold == fitted.machines["fan"].threshold
    again = AnomalyDetector(None).fit(rows_of(recordings / "fan", machine=[7] * 10, domain=[None] * 10))
    assert again.machines.keys() == {"7"}


def test_labels_of_classes_are_words(recordings):
    words = ["normal"] * 9 + ["anomaly"]
    rows = rows_of(recordings / "fan", condition=words).cast_column(
        "condition", ClassLabel(names=["anomaly", "normal"])
    )
    with pytest.raises(ValueError, match="1 of 10 training clips are marked as anomalies"):
        AnomalyDetector(None).fit(rows)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"condition": ["normal"] * 9 + ["broken"]},
            "the column condition holds broken; accepted are normal, anomaly",
        ),
        ({"domain": ["Target"] * 10}, "the column domain holds Target; accepted are source, target, unknown"),
        ({"label": [0] * 9 + [1]}, "no column condition but a column label, which may mark faulty recordings"),
        ({"is_anomaly": [False] * 10}, "no column condition but a column is_anomaly"),
        ({"machine": ["fan"] * 9 + [None]}, "the column machine is empty in row 9"),
        ({"embedding": [[1.0, 2.0]] * 9 + [[1.0]]}, "the column embedding holds lists of different lengths"),
        ({"embedding": [[1.0, 2.0]] * 9 + [[1.0, math.nan]]}, "something else than one list of finite numbers"),
    ],
)
def test_columns_that_are_not_understood_are_named(recordings, columns, words):
    with pytest.raises(ValueError, match=words):
        AnomalyDetector(None).fit(rows_of(recordings / "fan", **columns))


def test_what_is_no_dataset_of_recordings_is_named(recordings, fitted):
    rows = rows_of(recordings / "fan")
    with pytest.raises(ValueError, match="the dataset has the columns file; needed is audio"):
        fitted.score(rows.rename_column("audio", "file"))
    with pytest.raises(ValueError, match="the column audio holds .*; accepted are names of files"):
        fitted.score(Dataset.from_dict({"audio": [[0.0, 1.0]]}))
    with pytest.raises(TypeError, match="recordings are given as list; accepted is a datasets.Dataset"):
        fitted.score(rows["audio"][:])
    with pytest.raises(TypeError, match="given as DatasetDict; .* Choose one of its splits: test"):
        fitted.score(DatasetDict(test=rows))
    with pytest.raises(ValueError, match="there are no training clips"):
        AnomalyDetector().fit(rows.select([]))
    with pytest.raises(ValueError, match="needed is audio"):
        embed(Dataset.from_dict({"embedding": [[1.0]]}), SpectralStatistics())
    both = AnomalyDetector(None).fit(rows_of(recordings / "fan", machine=["a", "b"] * 5))
    with pytest.raises(ValueError, match="the dataset has no column machine; this detector knows a, b"):
        both.score(rows)


# Ctrl+C and closed pipes


def started(arguments: list) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "hf_asd", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("seconds", [0.6, 1.5, 3.0])
def test_ctrl_c_ends_with_one_line(recordings, tmp_path, seconds):
    """During the imports, while loading and while waiting for a recording."""
    detector = AnomalyDetector(None).fit(load_folder(recordings / "fan")).save_pretrained(tmp_path / "det")
    (tmp_path / "in").mkdir()
    process = started(["monitor", detector, tmp_path / "in", "--wait-seconds", "inf"])
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    try:
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = [line for line in error.splitlines() if line.strip()]
    ends = ("hf-asd monitor: stopped by Ctrl+C", "0 windows, 0 anomalies, 0 undecided, 0 alarms, 0 errors")
    assert process.returncode == 130 and "Traceback" not in error and lines[-1] in ends and len(lines) <= 2, error


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_in_code_that_an_import_makes_keeps_its_exit_code(tmp_path):
    (tmp_path / "interrupted.py").write_text(
        """
import sys
from hf_asd import cli
cli._run = lambda words: exec("raise KeyboardInterrupt")
sys.argv = ["hf-asd", "score"]
sys.exit(cli.main())
"""
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-m", "interrupted"], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (130, "hf-asd score: stopped by Ctrl+C\n")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_while_the_process_ends_is_ignored():
    code = """
import atexit, os, signal, sys
from hf_asd.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["hf-asd", "--version"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("hf-asd ")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pipes")
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["score"]])
def test_a_reader_that_ends_first_ends_the_command_without_a_word(recordings, detector, arguments):
    if arguments == ["score"]:
        arguments = ["score", detector, recordings / "new.wav"]
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "hf_asd", *map(str, arguments)]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode in (0, 141) and "Broken" not in done.stderr and "Traceback" not in done.stderr
