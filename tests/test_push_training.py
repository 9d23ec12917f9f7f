"""`push_to_hub=True` in pre-training and fine-tuning, against a local Hub."""

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from transformers import AutoFeatureExtractor, AutoModel

from hf_asd import FinetuneConfig, PretrainConfig, finetune, load_folder, pretrain
from hf_asd.hub import HubError
from hf_asd.models.eat import EatFeatureExtractor


TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
STEPS = {"crop_seconds": 0.5, "batch_size": 4, "max_steps": 4, "save_steps": 2}
ENCODER = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    for load in ("low", "high"):
        (tmp_path / "clips" / "fan" / load).mkdir(parents=True)
        for clip in range(3):
            soundfile.write(
                tmp_path / "clips" / "fan" / load / f"{clip}.wav", 0.1 * rng.standard_normal(16_000), 16_000
            )
    return load_folder(tmp_path / "clips")["train"]


def push(name, **training):
    return {
        "training": {"disable_tqdm": True, "push_to_hub": True, "hub_model_id": name, "logging_steps": 1, **training}
    }


def test_both_stages_publish_an_encoder_with_its_card(hub, clips, tmp_path):
    model = {"model": TINY | {"decoder_layers": 1}, "masks_per_clip": 2}
    pretrained = pretrain(clips, PretrainConfig(**STEPS, **model, **push("me/pretrained")), tmp_path / "a")
    tuned = finetune(clips, "me/pretrained", FinetuneConfig(**STEPS, **push("org/tuned")), tmp_path / "b")
    for name, folder, words in (
        ("me/pretrained", pretrained, "It learned from 6 recordings, for 4 steps"),
        ("org/tuned", tuned, "went on from [me/pretrained](https://huggingface.co/me/pretrained), with 6 recordings"),
    ):
        repo = hub.repo(name)
        assert sorted(repo.files) == ENCODER, "no training_args.bin, no checkpoints"
        assert len(repo.commits) == 2, "the empty repository, and one commit"
        card = ModelCard(repo.files["README.md"].decode())
        assert card.data.library_name == "hf-asd" and words in card.text
        assert "| max_steps | 4 |" in card.text and "The last loss logged was" in card.text
        assert f'from_pretrained("{name}")' in card.text and "hub_token" not in card.content
        loaded, ours = AutoModel.from_pretrained(name).state_dict(), AutoModel.from_pretrained(folder).state_dict()
        assert all(torch.equal(loaded[key], ours[key]) for key in ours) and loaded.keys() == ours.keys()
        assert isinstance(AutoFeatureExtractor.from_pretrained(name), EatFeatureExtractor)
    tuned_card = hub.repo("org/tuned").files["README.md"].decode()
    assert "base_model: me/pretrained" in tuned_card and "- fan: folder=high" in tuned_card


def test_a_refused_push_is_said_before_training_and_a_late_one_is_repeated(hub, clips, tmp_path):
    model = {"model": TINY | {"decoder_layers": 1}, "masks_per_clip": 2}

    def run(**training):
        return pretrain(clips, PretrainConfig(**STEPS, **model, **push("me/x", **training)), tmp_path / "run")

    with pytest.raises(HubError, match="me/x: your token may not write there"):
        run(hub_token="hf_read")
    with pytest.raises(ValueError, match="hub_strategy is 'every_save'; accepted is 'end'"):
        run(hub_strategy="every_save")
    hub.repo("me/x").commit({"detector.json": b"{}"})
    with pytest.raises(HubError, match="holds something else"):
        run()
    assert not list((tmp_path / "run").glob("checkpoint-*")), "nothing was trained in vain"
    hub.reset()
    hub.refuse = lambda method, path: 400 if method == "PUT" else None
    with pytest.raises(HubError, match="did not answer as expected"):
        run()
    assert hub.repo("me/x").files == {} and not (tmp_path / "run" / "encoder").exists()
    hub.refuse = lambda method, path: None
    assert run().name == "encoder"
    assert sorted(hub.repo("me/x").files) == ENCODER
