from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import ASTConfig, AutoModel, Wav2Vec2Config

from hf_asd import AttributeClassifier, AttributeClassifierConfig, EatConfig
from hf_asd.models.attribute_classifier.heads import HEADS


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("encoder", "pooling", "size", "shape"),
    [
        (EatConfig(**TINY), "mean", 32, (2, 64, 128)),
        (EatConfig(**TINY), "cls", 32, (2, 64, 128)),
        (EatConfig(**TINY), "bands", 256, (2, 64, 128)),
        (ASTConfig(**TINY, max_length=64), "mean", 32, (2, 64, 128)),
        (ASTConfig(**TINY, max_length=64), "bands", 384, (2, 64, 128)),
        (Wav2Vec2Config(**TINY, conv_dim=(16,) * 7), "mean", 32, (2, 4_000)),
    ],
)
def test_classifier_round_trips_with_any_encoder(encoder, pooling, size, shape, tmp_path):
    torch.manual_seed(0)
    labels = {0: "fan: speed=1", 1: "pump: cluster=0"}
    config = AttributeClassifierConfig(encoder_config=encoder, pooling=pooling, id2label=labels)
    model = AttributeClassifier(config).eval()
    values = torch.randn(shape)
    with torch.inference_mode():
        outputs = model(values, labels=torch.tensor([0, 1]))
    assert outputs.embeddings.shape == (2, size) and outputs.logits.shape == (2, 2)
    assert outputs.logits.abs().max() <= 30.0 and outputs.loss.ndim == 0
    model.save_pretrained(tmp_path)
    # A Trainer that resumes reads the names in memory and no others.
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert loaded.config.id2label == labels
    with torch.inference_mode():
        assert torch.equal(loaded(values).embeddings, outputs.embeddings)
    # The loss is a mean over the batch already: the Trainer must not rescale it.
    assert AttributeClassifier.accepts_loss_kwargs is False


def test_a_pooling_that_the_encoder_does_not_have_is_refused():
    config = AttributeClassifierConfig(encoder_config=Wav2Vec2Config(**TINY), pooling="bands")
    with pytest.raises(ValueError, match="run along time only"):
        AttributeClassifier(config)


@pytest.mark.parametrize("loss", HEADS)
def test_every_loss_keeps_what_it_learned_through_a_reload(loss, tmp_path):
    torch.manual_seed(0)
    labels = {index: f"fan: cluster={index}" for index in range(5)}
    config = AttributeClassifierConfig(
        encoder_config=EatConfig(**TINY), id2label=labels, loss=loss, num_centers=3, projection_size=12
    )
    model = AttributeClassifier(config).train()
    values, classes = torch.randn(6, 32, 128), torch.arange(6) % 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(values, labels=classes).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        ours, theirs = model(values, labels=classes), loaded(values, labels=classes)
    assert torch.equal(ours.logits, theirs.logits) and torch.equal(ours.loss, theirs.loss)
    if hasattr(model.head, "scale"):
        assert float(loaded.head.scale) == float(model.head.scale)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_detection_compares_what_was_asked_for():
    sizes = {}
    for embedding_from in ("encoder", "projection"):
        config = AttributeClassifierConfig(
            encoder_config=EatConfig(**TINY), projection_size=12, embedding_from=embedding_from
        )
        with torch.inference_mode():
            sizes[embedding_from] = AttributeClassifier(config)(torch.randn(2, 32, 128)).embeddings.shape[1]
    assert sizes == {"encoder": 32, "projection": 12}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "arcfase"}, "loss is 'arcfase'; accepted are softmax, arcface"),
        ({"loss": "adaproj", "num_centers": 32}, "num_centers is 32"),
        ({"embedding_from": "projection"}, "give projection_size"),
        ({"embedding_from": "head"}, "embedding_from is 'head'; accepted are"),
    ],
)
def test_options_that_no_head_has_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AttributeClassifier(AttributeClassifierConfig(encoder_config=EatConfig(**TINY), **options))
