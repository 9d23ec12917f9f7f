import math

import pytest
import torch
from transformers import ASTConfig, AutoModel

from hf_asd import AttributeClassifier, AttributeClassifierConfig, EatConfig
from hf_asd.models.attribute_classifier import ArcFaceHead
from hf_asd.models.pooling import pool


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
    ("encoder", "pooling", "size"),
    [
        (EatConfig(**TINY), "mean", 32),
        (EatConfig(**TINY), "cls", 32),
        (EatConfig(**TINY), "bands", 256),
        (ASTConfig(**TINY, max_length=64), "mean", 32),
    ],
)
def test_classifier_round_trips_with_any_encoder(encoder, pooling, size, tmp_path):
    torch.manual_seed(0)
    labels = {0: "fan: speed=1", 1: "pump: cluster=0"}
    config = AttributeClassifierConfig(encoder_config=encoder, pooling=pooling, id2label=labels)
    model = AttributeClassifier(config).eval()
    values = torch.randn(2, 64, 128)
    with torch.inference_mode():
        outputs = model(values, labels=torch.tensor([0, 1]))
    assert outputs.embeddings.shape == (2, size) and outputs.logits.shape == (2, 2)
    assert outputs.logits.abs().max() <= 30.0 and outputs.loss.ndim == 0
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert loaded.config.id2label == labels
    with torch.inference_mode():
        assert torch.equal(loaded(values).embeddings, outputs.embeddings)
    # The loss is a mean over the batch already: the Trainer must not rescale it.
    assert AttributeClassifier.accepts_loss_kwargs is False


def test_poolings():
    # The CLS token, then two time steps of four bands.
    hidden_states = torch.arange(1 * 9 * 2, dtype=torch.float32).view(1, 9, 2)
    patches = hidden_states[0, 1:]
    assert torch.equal(pool(hidden_states, "mean", "eat")[0], patches.mean(0))
    assert torch.equal(pool(hidden_states, "cls", "eat")[0], hidden_states[0, 0])
    bands = pool(hidden_states, "bands", "eat", num_bands=4)[0]
    assert torch.equal(bands, torch.cat([(patches[band] + patches[4 + band]) / 2 for band in range(4)]))
    with pytest.raises(ValueError, match="has no such token"):
        pool(hidden_states, "cls", "wav2vec2")
    with pytest.raises(ValueError, match="pooling is 'max'"):
        pool(hidden_states, "max", "eat")
