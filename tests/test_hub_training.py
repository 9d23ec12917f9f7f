"""A published encoder, from the Hub through both trainings and back."""

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import HfApi
from models.test_convert_eat import TINY, publish, randomised
from transformers import AutoModel

from hf_asd import EatConfig, EatModel, FinetuneConfig, PretrainConfig, finetune, load_folder, pretrain
from hf_asd.models.encoder import load_feature_extractor


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for load in ("low", "high"):
        (tmp_path / "fan" / "fan" / load).mkdir(parents=True)
        for clip in range(4):
            soundfile.write(tmp_path / "fan" / "fan" / load / f"{clip}.wav", 0.1 * rng.normal(size=16_000), 16_000)
    return load_folder(tmp_path / "fan")["train"]


def outputs(source):
    values = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return AutoModel.from_pretrained(source).eval()(values)


def test_a_published_encoder_is_pretrained_finetuned_pushed_and_loaded_again(hub, clips, tmp_path):
    original = randomised(EatModel(EatConfig(**TINY)))
    publish(tmp_path / "published", original)
    HfApi().create_repo("me/EAT-tiny")
    HfApi().upload_folder(repo_id="me/EAT-tiny", folder_path=tmp_path / "published")
    values = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = original(values).last_hidden_state
    assert torch.equal(outputs("me/EAT-tiny").last_hidden_state, expected)

    shared = {"max_steps": 2, "batch_size": 4, "crop_seconds": 0.5, "save_steps": 2}

    def training(name):
        return {"push_to_hub": True, "hub_model_id": name, "disable_tqdm": True}

    config = PretrainConfig(encoder="me/EAT-tiny", masks_per_clip=2, training=training("me/adapted"), **shared)
    adapted = pretrain(clips, config, tmp_path / "pretrain")
    assert not torch.equal(outputs(adapted).last_hidden_state, expected)
    assert torch.equal(outputs("me/adapted").last_hidden_state, outputs(adapted).last_hidden_state)

    classifier = finetune(
        clips, "me/adapted", FinetuneConfig(training=training("me/asd"), **shared), tmp_path / "tune"
    )
    pushed, local = outputs("me/asd"), outputs(classifier)
    assert torch.equal(pushed.embeddings, local.embeddings) and torch.equal(pushed.logits, local.logits)
    assert not torch.equal(pushed.embeddings, outputs("me/adapted").last_hidden_state.mean(1))
    assert load_feature_extractor("me/asd").to_dict() == load_feature_extractor(adapted).to_dict()
    assert AutoModel.from_pretrained("me/asd").config.id2label == {0: "fan: folder=high", 1: "fan: folder=low"}
