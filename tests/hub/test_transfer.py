"""Detectors pushed to, and pulled from, a local Hub."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from hf_asd import AnomalyDetector, EatConfig, EatFeatureExtractor, TransformerEncoder, load_folder
from hf_asd.cli import main
from hf_asd.detection.publishing import push_detector
from hf_asd.hub.manifest import checksums
from hf_asd.hub_errors import HubError


RATE = 16_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Eight normal recordings of a fan and a pump each."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("clips")
    for machine, pitch in (("fan", 100), ("pump", 170)):
        (folder / machine).mkdir()
        for clip in range(8):
            tone = np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)
            soundfile.write(folder / machine / f"{clip}.wav", 0.1 * tone + 0.02 * rng.standard_normal(RATE), RATE)
    return folder


@pytest.fixture(scope="module")
def detector(clips):
    torch.manual_seed(0)
    config = EatConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    encoder = TransformerEncoder(AutoModel.from_config(config), EatFeatureExtractor())
    return AnomalyDetector(encoder).fit(load_folder(clips))


@pytest.fixture
def folder(detector, tmp_path):
    return detector.save_pretrained(tmp_path / "detector")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_one_commit_holds_everything_and_no_pickle(hub, detector, clips, cache):
    assert detector.push_to_hub("me/asd") == "me/asd"
    repo = hub.repo("me/asd")
    assert len(repo.commits) == 2, "the empty repository, and one commit"
    assert repo.private
    code = {name for name in repo.files if name.startswith("hf_asd/")}
    assert "hf_asd/detection/detector.py" in code and not any("__pycache__" in name for name in code)
    assert sorted(set(repo.files) - code) == [
        "README.md",
        "config.json",
        "detector.json",
        "encoder/config.json",
        "encoder/model.safetensors",
        "encoder/preprocessor_config.json",
        "handler.py",
        "memory_bank.safetensors",
        "normal_profiles.safetensors",
        "requirements.txt",
        "training_clips.parquet",
        "training_clips.safetensors",
        "widget/simulated_fan_anomaly.flac",
        "widget/simulated_fan_normal.flac",
    ]
    assert b'AnomalyDetector.from_pretrained("me/asd")' in repo.files["README.md"]
    loaded = AnomalyDetector.from_pretrained("me/asd", cache_dir=cache)
    rows = load_folder(clips)["train"]
    assert loaded.score(rows)["anomaly_score"][:] == detector.score(rows)["anomaly_score"][:]
    assert loaded.training_summary == detector.training_summary and loaded.training_summary["fan"]["seconds"] == 8.0


@pytest.mark.slow
def test_revisions_stay_and_what_is_gone_goes(hub, detector, clips, cache):
    detector.push_to_hub("me/asd")
    HfApi().create_tag("me/asd", tag="v1")
    AnomalyDetector().fit(load_folder(clips / "fan")).push_to_hub("me/asd")
    assert "encoder/model.safetensors" not in hub.repo("me/asd").files, "a detector without an encoder replaced it"
    assert len(hub.repo("me/asd").commits) == 3
    assert list(AnomalyDetector.from_pretrained("me/asd", cache_dir=cache).machines) == ["fan"]
    assert list(AnomalyDetector.from_pretrained("me/asd", revision="v1", cache_dir=cache).machines) == ["fan", "pump"]
    with pytest.raises(HubError, match="me/asd: has no such revision"):
        AnomalyDetector.from_pretrained("me/asd", revision="v9", cache_dir=cache)
    detector.push_to_hub("me/asd", revision="trial")
    assert list(AnomalyDetector.from_pretrained("me/asd", cache_dir=cache).machines) == ["fan"], "main is as it was"
    assert len(AnomalyDetector.from_pretrained("me/asd", revision="trial", cache_dir=cache).machines) == 2


def test_nothing_of_the_folder_that_runs_code_or_is_heard_is_published(hub, folder):
    push_detector(folder, "me/asd")
    expected = set(hub.repo("me/asd").files)
    (folder / "private").mkdir()
    for name in (
        "training_args.bin",
        "report.html",
        "model.pt",
        "notes.md",
        "private/keys.json",
        "encoder/x.bin",
        "1.wav",
    ):
        (folder / name).write_bytes(b"x")
    AnomalyDetector.from_pretrained(folder).save_pretrained(folder)
    push_detector(folder, "me/asd")
    assert set(hub.repo("me/asd").files) == expected


@pytest.mark.slow
def test_an_interrupted_upload_publishes_nothing_and_goes_on(hub, folder):
    sent = []

    def refuse(method, path):
        if method == "PUT":
            sent.append(path)
            return 400 if len(sent) == 2 else None
        return None

    hub.refuse = refuse
    with pytest.raises(HubError, match="unexpected answer of the Hub"):
        push_detector(folder, "me/asd")
    assert hub.repo("me/asd").files == {}, "nothing is half-published"
    arrived = set(hub.objects)
    hub.refuse = lambda method, path: None
    hub.requests.clear()
    push_detector(folder, "me/asd")
    again = [request for request in hub.requests if request.startswith("PUT")]
    missing = hub.repo("me/asd").large - arrived
    assert arrived and len(again) == len(missing) >= 1, "the files that had arrived are not sent again"
    AnomalyDetector.from_pretrained("me/asd")


@pytest.mark.slow
def test_what_the_hub_refuses_is_said_plainly(hub, folder, monkeypatch):
    for token, words in (("hf_wrong", "does not accept your token"), ("hf_read", "your token has no write access")):
        with pytest.raises(HubError, match=words):
            push_detector(folder, "me/asd", token=token)
    with pytest.raises(HubError, match="has no write access"):
        push_detector(folder, "others/asd")
    with pytest.raises(HubError, match="is not a valid id on the Hub"):
        push_detector(folder, "me/a/b")
    assert hub.repos == {}, "nothing was made"
    hub.repo("me/bert").commit({"config.json": b"{}", "model.safetensors": b"x"})
    with pytest.raises(HubError, match=r"already exists and holds something else \(config.json, model.safetensors\)"):
        push_detector(folder, "me/bert")
    assert sorted(hub.repo("me/bert").files) == ["config.json", "model.safetensors"]
    with pytest.raises(HubError, match="me/nothing: there is no such repository on the Hub, or it is private"):
        AnomalyDetector.from_pretrained("me/nothing")
    with pytest.raises(HubError, match="holds no detector.json, so it is not a detector"):
        AnomalyDetector.from_pretrained("me/bert")
    with pytest.raises(FileNotFoundError, match="no such folder, and it is not an id on the Hub"):
        AnomalyDetector.from_pretrained("runs/factory/detector")
    push_detector(folder, "me/secret")
    with pytest.raises(HubError, match="does not accept your token"):
        AnomalyDetector.from_pretrained("me/secret", token="hf_wrong")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="or it is private"):
        AnomalyDetector.from_pretrained("me/secret")
    with pytest.raises(HubError, match="does not accept your token"):
        push_detector(folder, "me/other")


def test_offline_the_cache_is_used_and_nothing_else(hub, folder, cache, monkeypatch):
    push_detector(folder, "me/asd")
    online = AnomalyDetector.from_pretrained("me/asd", cache_dir=cache)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert AnomalyDetector.from_pretrained("me/asd", cache_dir=cache).training_summary == online.training_summary
    with pytest.raises(HubError, match="offline mode is on"):
        AnomalyDetector.from_pretrained("me/other", cache_dir=cache)
    with pytest.raises(HubError, match="offline mode is on"):
        push_detector(folder, "me/asd")
    assert hub.requests == []


def test_a_hub_that_is_not_there(folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="127.0.0.1:9"):
        push_detector(folder, "me/asd")


@pytest.mark.parametrize("where", ["folder", "hub"])
@pytest.mark.slow
def test_damaged_files_are_named(hub, folder, cache, where):
    whole = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def load(files):
        if where == "hub":
            hub.repo("me/asd").commit(files)
            return AnomalyDetector.from_pretrained("me/asd", cache_dir=cache)
        shutil.rmtree(folder)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return AnomalyDetector.from_pretrained(folder)

    assert list(load(whole).machines) == ["fan", "pump"]
    for name in ("memory_bank.safetensors", "encoder/model.safetensors", "encoder/preprocessor_config.json"):
        data = whole[name]
        for files, words in (
            ({n: d for n, d in whole.items() if n != name}, f"{name}: is missing"),
            (whole | {name: data[:-10]}, f"{name}: is truncated, it has {len(data) - 10} of {len(data)} bytes"),
            (whole | {name: data[:-1] + bytes([data[-1] ^ 1])}, f"{name}: was changed after the detector was saved"),
        ):
            with pytest.raises(ValueError, match=words):
                load(files)
    manifest = json.loads(whole["detector.json"])
    for content, words in (
        (json.dumps(manifest | {"format_version": 99}), "format version 99.*upgrade hf_asd"),
        (whole["detector.json"].decode()[:-20], "detector.json: is not a JSON file, or is damaged"),
    ):
        with pytest.raises(ValueError, match=words):
            load(whole | {"detector.json": content.encode()})


def test_a_memory_bank_of_other_dimensions(folder):
    """Somebody puts another detector's memory bank in, and mends the checksums."""
    tensors = load_file(folder / "memory_bank.safetensors")
    manifest = json.loads((folder / "detector.json").read_text())
    for change in (lambda bank: bank[:, :-1], lambda bank: bank[:-1]):
        other = {name: change(t).contiguous() if name == "fan/source" else t for name, t in tensors.items()}
        save_file(other, folder / "memory_bank.safetensors")
        (folder / "detector.json").write_text(json.dumps(manifest | {"files": checksums(folder)}))
        with pytest.raises(ValueError, match=r"memory bank of fan, source domain, has the shape .* need \(8, 32\)"):
            AnomalyDetector.from_pretrained(folder)


def test_the_command_line_pushes_and_takes_ids(hub, clips, folder, capsys, tmp_path):
    assert main(["push", str(folder), "me/asd", "--public", "--license", "apache-2.0"]) == 0
    assert "detector: me/asd" in capsys.readouterr().out
    assert not hub.repo("me/asd").private and b"license: apache-2.0" in hub.repo("me/asd").files["README.md"]
    assert main(["push", str(folder), "me/other", "--license", "whatever you like"]) == 2
    assert '"license" must be one of [apache-2.0' in capsys.readouterr().err and not hub.repo("me/other").files
    assert main(["push", str(folder), "me/other", "--dataset", "a/b/c"]) == 2
    assert "a/b/c: is not a valid id on the Hub" in capsys.readouterr().err
    recording = str(clips / "fan" / "0.wav")
    assert main(["score", "me/asd", recording, "--machine", "fan"]) == 0
    assert "0 of 1 recordings are anomalous" in capsys.readouterr().out
    assert main(["score", "me/asd", recording, "--machine", "fan", "--revision", "v9"]) == 2
    assert "me/asd: has no such revision" in capsys.readouterr().err
    assert main(["push", str(clips), "me/other"]) == 2
    assert "holds no detector.json" in capsys.readouterr().err


@pytest.mark.slow
def test_an_encoder_from_the_hub_fits_a_folder(hub, detector, clips, tmp_path, capsys):
    files = {}
    detector.encoder.save_pretrained(tmp_path / "encoder")
    for path in (tmp_path / "encoder").iterdir():
        files[path.name] = path.read_bytes()
    hub.repo("me/encoder").commit(files)
    output = tmp_path / "fitted"
    assert main(["fit", str(clips / "fan"), "--encoder", "me/encoder", "--output", str(output)]) == 0
    assert "base_model: me/encoder" in (output / "README.md").read_text()
    ours = detector.machines["fan"].normal_scores
    assert AnomalyDetector.from_pretrained(output).machines["fan"].normal_scores == pytest.approx(ours, rel=1e-4)
    assert main(["fit", str(clips / "fan"), "--encoder", "me/nothing", "--output", str(output)]) == 2
    assert "me/nothing" in capsys.readouterr().err
