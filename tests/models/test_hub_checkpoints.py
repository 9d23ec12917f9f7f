"""Encoders from checkpoints of their authors' code, in the layouts of the repositories that hold them."""

import json

import huggingface_hub
import numpy as np
import pytest
import torch
from test_convert_beats import SETTINGS, assert_same_weights, model, official  # noqa: F401
from test_convert_eat import fairseq, pretraining  # noqa: F401
from transformers import AutoModel

from hf_asd import BeatsFeatureExtractor, TransformerEncoder
from hf_asd.models import hub_checkpoints
from hf_asd.models.hub_checkpoints import local_encoder
from hf_asd.models.tone_check import TONE_FILE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Repositories as folders: `repo_type/ORG/NAME`; returns the folder of one."""

    class Api:
        def repo_exists(self, repo, repo_type):
            return (tmp_path / repo_type / repo).is_dir()

        def list_repo_files(self, repo, repo_type):
            root = tmp_path / repo_type / repo
            return [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]

    def add(repo, repo_type="model"):
        (tmp_path / repo_type / repo).mkdir(parents=True)
        return tmp_path / repo_type / repo

    monkeypatch.setattr(hub_checkpoints, "HfApi", Api)
    monkeypatch.setattr(
        hub_checkpoints, "hf_hub_download", lambda repo, name, repo_type: str(tmp_path / repo_type / repo / name)
    )
    return add


def espnet(model):  # noqa: F811
    """ESPnet stores two more weights, and its whole models put `encoder.` in front."""
    weights = official(model)["model"]
    pads = {"patch_embedding_pad.weight": torch.ones(1, 1, 16, 16), "raw2fbank_pad.weight": torch.ones(1, 1, 400)}
    return weights | pads


def test_a_file_is_an_encoder_and_converted_once(model, tmp_path):  # noqa: F811
    torch.save(official(model), tmp_path / "BEATs.pt")
    folder = local_encoder(tmp_path / "BEATs.pt")
    assert_same_weights(AutoModel.from_pretrained(folder), model)
    first = (folder / "model.safetensors").stat().st_mtime_ns
    assert local_encoder(str(tmp_path / "BEATs.pt")) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == first
    clip = [0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)]
    assert TransformerEncoder.from_pretrained(tmp_path / "BEATs.pt", "bands")(clip).shape == (1, 8 * 32)


def test_an_eat_of_fairseq_is_an_encoder(pretraining, tmp_path):  # noqa: F811
    torch.save(fairseq(pretraining), tmp_path / "eat.pt")
    assert_same_weights(AutoModel.from_pretrained(local_encoder(tmp_path / "eat.pt")), pretraining.eat)


def test_repositories_with_official_and_espnet_checkpoints(model, hub, monkeypatch):  # noqa: F811
    repo = hub("Bencr/beats-checkpoints", "dataset")
    torch.save(official(model), repo / "BEATs_iter3_plus_AS2M.pt")
    torch.save({"cfg": SETTINGS, "model": espnet(model)}, repo / "OpenBEATs-Base-i3.pt")
    for name in ("Bencr/beats-checkpoints", "Bencr/beats-checkpoints/OpenBEATs-Base-i3.pt"):
        folder = local_encoder(name)
        assert_same_weights(AutoModel.from_pretrained(folder), model)
        assert BeatsFeatureExtractor.from_pretrained(folder).mean == 15.41663

    repo = hub("jaeyeonkim99/BEATs-base-AS2M-iter1")
    torch.save({"cfg": SETTINGS, "model": espnet(model)}, repo / "beats_encoder_iter1.pt")
    extractor = BeatsFeatureExtractor.from_pretrained(local_encoder("jaeyeonkim99/BEATs-base-AS2M-iter1"))
    assert (extractor.mean, extractor.std) == (15.2913, 5.90532)
    monkeypatch.setattr(hub_checkpoints, "check_repo", lambda repo, file: None)  # the Hub has it
    assert local_encoder("worstchan/EAT-base_epoch30_pretrain") == "worstchan/EAT-base_epoch30_pretrain"


def test_fine_tuned_openbeats_get_the_shape_of_the_encoder_they_started_from(model, hub):  # noqa: F811
    repo = hub("espnet/OpenBEATs-Base-i3-as20k")
    weights = {f"encoder.{name}": weight for name, weight in espnet(model).items()}
    torch.save(weights | {"decoder.linear_out.weight": torch.ones(527, 32)}, repo / "valid.acc.ave.pth")
    (repo / "config.yaml").write_text("encoder: beats\nencoder_conf: {beats_ckpt_path: x.pt}\n")
    base = hub("shikhar7ssu/OpenBEATs-Base-i3")
    (base / "config.yaml").write_text(json.dumps({"encoder_conf": {"beats_config": SETTINGS}}))
    assert_same_weights(AutoModel.from_pretrained(local_encoder("espnet/OpenBEATs-Base-i3-as20k")), model)


def test_repositories_that_do_not_say_which_file_are_refused(model, hub):  # noqa: F811
    repo = hub("shikhar7ssu/OpenBEATs-Large-i1")
    with pytest.raises(ValueError, match=r"holds no checkpoint \(.pt\)"):
        local_encoder("shikhar7ssu/OpenBEATs-Large-i1")
    for name in ("a.pt", "b.pt"):
        torch.save(official(model), repo / name)
    with pytest.raises(ValueError, match=r"holds .*a.pt.*; name one as shikhar7ssu/OpenBEATs-Large-i1/FILE.pt"):
        local_encoder("shikhar7ssu/OpenBEATs-Large-i1")
    assert_same_weights(AutoModel.from_pretrained(local_encoder("shikhar7ssu/OpenBEATs-Large-i1/b.pt")), model)
    with pytest.raises(OSError, match="nobody/nothing: there is no such model or dataset"):
        local_encoder("nobody/nothing/x.pt")


def test_a_converted_encoder_that_was_changed_is_refused(model, tmp_path):  # noqa: F811
    torch.save(official(model), tmp_path / "BEATs.pt")
    folder = local_encoder(tmp_path / "BEATs.pt")
    assert (folder / TONE_FILE).is_file()
    for changed, option, wrong in (("config.json", "residual_scale", 1.0), ("preprocessor_config.json", "mean", 0.0)):
        whole = (folder / changed).read_text()
        (folder / changed).write_text(json.dumps(json.loads(whole) | {option: wrong}))
        with pytest.raises(ValueError, match="for a test tone the encoder gives another output .* convert it again"):
            TransformerEncoder.from_pretrained(folder)
        (folder / changed).write_text(whole)
    TransformerEncoder.from_pretrained(folder)
