"""`push_to_hub=True` in pre-training and fine-tuning, also of a published encoder, against a local Hub."""

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from models.test_convert_eat import TINY as PUBLISHED_SHAPE
from models.test_convert_eat import publish, randomized
from trainings import FINETUNE, TINY, twelve_clips  # noqa: F401
from transformers import AutoFeatureExtractor, AutoModel

from hf_asd import EatConfig, EatFeatureExtractor, EatModel, FinetuneConfig, PretrainConfig, finetune, pretrain
from hf_asd.hub_errors import HubError
from hf_asd.models.encoders import load_feature_extractor


STEPS = FINETUNE | {"max_steps": 4}
MODEL = {"model": TINY | {"decoder_layers": 1}, "num_masks": 2}
ENCODER = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]


def push(name, **training):
    return {
        "training": {"disable_tqdm": True, "push_to_hub": True, "hub_model_id": name, "logging_steps": 1, **training}
    }


@pytest.mark.slow
def test_both_stages_publish_an_encoder_with_its_card(hub, clips, tmp_path):
    pretrained = pretrain(clips, PretrainConfig(**STEPS, **MODEL, **push("me/pretrained")), tmp_path / "a")
    tuned = finetune(clips, "me/pretrained", FinetuneConfig(**STEPS, **push("org/tuned")), tmp_path / "b")
    for name, folder, words in (
        ("me/pretrained", pretrained, "It was trained from scratch with 12 recordings for 4 steps"),
        ("org/tuned", tuned, "trained from [me/pretrained](https://huggingface.co/me/pretrained) with 12 recordings"),
    ):
        repo = hub.repo(name)
        assert sorted(repo.files) == ENCODER, "no training_args.bin, no checkpoints"
        assert len(repo.commits) == 2, "the empty repository, and one commit"
        card = ModelCard(repo.files["README.md"].decode())
        assert card.data.library_name == "hf-asd" and words in card.text
        assert "| max_steps | 4 |" in card.text and "The last logged loss was" in card.text
        assert f'from_pretrained("{name}")' in card.text and "hub_token" not in card.content
        loaded, ours = AutoModel.from_pretrained(name).state_dict(), AutoModel.from_pretrained(folder).state_dict()
        assert all(torch.equal(loaded[key], ours[key]) for key in ours) and loaded.keys() == ours.keys()
        assert isinstance(AutoFeatureExtractor.from_pretrained(name), EatFeatureExtractor)
    tuned_card = hub.repo("org/tuned").files["README.md"].decode()
    assert "base_model: me/pretrained" in tuned_card and "- fan: folder=high" in tuned_card


@pytest.mark.slow
def test_a_refused_push_is_said_before_training_and_a_late_one_is_repeated(hub, clips, tmp_path):
    def run(**training):
        return pretrain(clips, PretrainConfig(**STEPS, **MODEL, **push("me/x", **training)), tmp_path / "run")

    with pytest.raises(HubError, match="me/x: your token has no write access"):
        run(hub_token="hf_read")
    with pytest.raises(ValueError, match="hub_strategy is 'every_save'; accepted is 'end'"):
        run(hub_strategy="every_save")
    hub.repo("me/x").commit({"detector.json": b"{}"})
    with pytest.raises(HubError, match="holds something else"):
        run()
    assert not list((tmp_path / "run").glob("checkpoint-*")), "nothing was trained in vain"
    hub.reset()
    hub.refuse = lambda method, path: 400 if method == "PUT" else None
    with pytest.raises(HubError, match="unexpected answer of the Hub"):
        run()
    assert hub.repo("me/x").files == {} and not (tmp_path / "run" / "encoder").exists()
    hub.refuse = lambda method, path: None
    assert run().name == "encoder"
    assert sorted(hub.repo("me/x").files) == ENCODER


def outputs(source):
    values = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return AutoModel.from_pretrained(source).eval()(values)


@pytest.mark.slow
def test_a_published_encoder_is_pretrained_finetuned_pushed_and_loaded_again(hub, clips, tmp_path):
    original = randomized(EatModel(EatConfig(**PUBLISHED_SHAPE)))
    publish(tmp_path / "published", original)
    HfApi().create_repo("me/EAT-tiny")
    HfApi().upload_folder(repo_id="me/EAT-tiny", folder_path=tmp_path / "published")
    original.save_pretrained(tmp_path / "original")
    expected = outputs(tmp_path / "original").last_hidden_state
    assert torch.equal(outputs("me/EAT-tiny").last_hidden_state, expected)

    config = PretrainConfig(encoder="me/EAT-tiny", num_masks=2, **STEPS, **push("me/adapted"))
    adapted = pretrain(clips, config, tmp_path / "pretrain")
    assert not torch.equal(outputs(adapted).last_hidden_state, expected)
    assert torch.equal(outputs("me/adapted").last_hidden_state, outputs(adapted).last_hidden_state)

    classifier = finetune(clips, "me/adapted", FinetuneConfig(**STEPS, **push("me/asd")), tmp_path / "tune")
    pushed, local = outputs("me/asd"), outputs(classifier)
    assert torch.equal(pushed.embeddings, local.embeddings) and torch.equal(pushed.logits, local.logits)
    assert not torch.equal(pushed.embeddings, outputs("me/adapted").last_hidden_state.mean(1))
    assert load_feature_extractor("me/asd").to_dict() == load_feature_extractor(adapted).to_dict()
    labels = [f"{machine}: folder={load}" for machine in ("fan", "pump") for load in ("high", "low")]
    assert AutoModel.from_pretrained("me/asd").config.id2label == dict(enumerate(labels))
