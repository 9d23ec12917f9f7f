import math

import pytest
import torch
from safetensors import safe_open
from transformers import ASTConfig, AutoModel, Wav2Vec2Config

from hf_asd import AttributeClassifier, AttributeClassifierConfig, EatConfig
from hf_asd.models.attribute_classifier import ArcFaceHead


TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def test_the_margin_is_added_to_the_angle_of_the_own_class():
    head = ArcFaceHead(4, 3, scale=30.0, margin=0.2)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    embeddings = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1])
    expected = []
    for embedding, label in zip(embeddings, labels.tolist(), strict=True):
        angles = [
            math.acos(float(embedding @ weight / (embedding.norm() * weight.norm())))
            for weight in head.weight.detach()
        ]
        angles[label] = min(angles[label] + 0.2, math.pi)
        logits = torch.tensor([30 * math.cos(angle) for angle in angles])
        expected.append(-logits.log_softmax(0)[label].item())
    loss = head.loss(head(embeddings), labels)
    assert loss.item() == pytest.approx(sum(expected) / 5, rel=1e-4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gradient_is_finite_where_an_embedding_lies_on_a_class(sign):
    head = ArcFaceHead(4, 3, scale=30.0, margin=0.2)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    embeddings = (sign * head.weight.detach()).clone().requires_grad_()
    head.loss(head(embeddings), torch.arange(3)).backward()
    assert embeddings.grad.isfinite().all() and head.weight.grad.isfinite().all()


def test_a_clip_opposite_its_class_is_not_rewarded():
    head = ArcFaceHead(2, 2, scale=1.0, margin=0.5)
    losses = []
    for angle in (2.4, 2.8, math.pi):
        cosines = torch.tensor([[math.cos(angle), 0.0]])
        losses.append(head.loss(cosines, torch.tensor([0])).item())
    assert losses == sorted(losses)


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
    with pytest.raises(ValueError, match="run along time alone"):
        AttributeClassifier(config)
