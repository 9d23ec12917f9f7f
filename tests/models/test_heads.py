"""Every head against its paper's formula in plain numpy, in float64."""

import math
from typing import Any, get_args

import pytest
import torch
from reference_formulas import loss_and_scale

from hf_asd import AttributeClassifierConfig
from hf_asd.models.attribute_classifier.heads import HEADS, make_head
from hf_asd.models.choices import LossName


CLIPS, DIMENSIONS, CENTERS = 7, 9, 3


def head_of(loss, num_labels=4, dimensions=DIMENSIONS, num_centers=CENTERS, scale=30.0, margin=0.2) -> Any:
    torch.manual_seed(0)
    head = make_head(
        dimensions,
        num_labels,
        AttributeClassifierConfig(loss=loss, scale=scale, margin=margin, num_centers=num_centers),
    )
    head.init_weights(1.0)
    return head


def batch_of(num_labels=4, clips=CLIPS, dimensions=DIMENSIONS):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(clips, dimensions, generator=generator), torch.arange(clips) % num_labels


def numpy_loss(loss, head, embeddings, labels):
    """Mean cross-entropy of a batch, and the adaptive scale that the batch leads to."""
    state = {name: value.double().numpy() for name, value in head.state_dict().items()}
    return loss_and_scale(loss, state, embeddings.double().numpy(), labels, CENTERS)


def test_every_loss_that_options_accept_has_a_head():
    assert tuple(HEADS) == get_args(LossName)


@pytest.mark.parametrize("num_labels", [2, 3, 40])
@pytest.mark.parametrize("loss", HEADS)
def test_loss_and_scale_are_those_of_the_paper(loss, num_labels):
    head = head_of(loss, num_labels)
    embeddings, labels = batch_of(num_labels)
    expected, scale = numpy_loss(loss, head, embeddings, labels.numpy())
    similarities = head(embeddings)
    head.adapt(similarities, labels)
    assert head.loss(similarities, labels).mean().item() == pytest.approx(expected, rel=1e-4)
    if scale is not None:
        assert float(head.scale) == pytest.approx(scale, rel=1e-4)
    # Without labels there is no margin, and the classes are those of the cosines.
    assert head.logits(similarities).shape == (CLIPS, num_labels)


@pytest.mark.parametrize(
    ("loss", "num_labels", "scale"),
    [
        ("adacos", 10, math.sqrt(2) * math.log(9)),
        ("adaproj", 10, math.sqrt(2) * math.log(9)),
        ("subcluster_adacos", 10, math.sqrt(2) * math.log(29)),
        ("adacos", 2, 1.0),
    ],
)
def test_the_first_scale_is_that_of_the_paper(loss, num_labels, scale):
    assert float(head_of(loss, num_labels).scale) == pytest.approx(scale)


@pytest.mark.parametrize("loss", ["arcface", "subcenter_arcface"])
def test_the_margin_lies_on_the_true_class_alone(loss):
    head = head_of(loss)
    embeddings, labels = batch_of()
    similarities = head(embeddings)
    changed = head.logits(similarities, labels) != head.logits(similarities)
    assert torch.equal(changed, torch.nn.functional.one_hot(labels, 4).bool())


@pytest.mark.parametrize("loss", HEADS)
def test_gradients_are_those_of_finite_differences(loss):
    head = head_of(loss, scale=4.0)
    embeddings, labels = batch_of()
    embeddings.requires_grad_()
    head.loss(head(embeddings), labels).mean().backward()
    step = 1e-2
    for place in ((0, 0), (3, 4), (6, 8)):
        values = []
        for sign in (1, -1):
            moved = embeddings.detach().clone()
            moved[place] += sign * step
            values.append(head.loss(head(moved), labels).mean().item())
        assert embeddings.grad is not None
        assert embeddings.grad[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.02, abs=1e-4)
    for parameter in head.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("loss", HEADS)
def test_the_gradient_is_finite_where_an_embedding_lies_on_a_class(loss, sign):
    head = head_of(loss)
    centers = head.bases[:, :, 0] if loss == "adaproj" else head.weight.detach()
    embeddings = (sign * centers[:4]).clone().requires_grad_()
    similarities = head(embeddings)
    head.adapt(similarities, torch.arange(4))
    head.loss(similarities, torch.arange(4)).mean().backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["arcface", "subcenter_arcface", "adacos", "subcluster_adacos"])
def test_fixed_centers_do_not_learn(loss):
    head = make_head(DIMENSIONS, 4, AttributeClassifierConfig(loss=loss, num_centers=CENTERS, fixed_centers=True))
    head.init_weights(1.0)
    embeddings, labels = batch_of()
    embeddings.requires_grad_()
    head.loss(head(embeddings), labels).mean().backward()
    assert head.weight.grad is None and embeddings.grad is not None and embeddings.grad.abs().max() > 0
    assert not [parameter for parameter in head.parameters() if parameter.requires_grad]


def test_the_margin_goes_on_linearly_beyond_pi_minus_m():
    head = head_of("arcface", scale=1.0, margin=0.5)
    angles = torch.tensor([0.3, 2.0, math.pi - 0.51, math.pi - 0.49, 3.0])
    cosines = torch.stack([angles.cos(), torch.zeros(5)], dim=1)
    found = head.logits(cosines, torch.zeros(5, dtype=torch.int64))[:, 0]
    expected = [
        math.cos(a + 0.5) if a <= math.pi - 0.5 else math.cos(a) - 0.5 * math.sin(0.5) for a in angles.tolist()
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_clip_opposite_its_class_is_not_rewarded():
    head = make_head(2, 2, AttributeClassifierConfig(loss="arcface", scale=1.0, margin=0.5))
    losses = [
        head.loss(torch.tensor([[math.cos(angle), 0.0]]), torch.tensor([0])).item() for angle in (2.4, 2.8, math.pi)
    ]
    assert losses == sorted(losses)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", HEADS)
def test_autocast_and_half_precision_embeddings_lose_nothing_in_the_head(loss, dtype):
    head = head_of(loss)
    embeddings, labels = batch_of()
    embeddings = embeddings.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        similarities = head(embeddings)
        head.adapt(similarities, labels)
        value = head.loss(similarities, labels).mean()
    assert similarities.dtype == value.dtype == torch.float32
    plain = head_of(loss)
    similarities = plain(embeddings.float())
    plain.adapt(similarities, labels)
    assert value.item() == pytest.approx(plain.loss(similarities, labels).mean().item(), rel=1e-6)


@pytest.mark.parametrize("loss", HEADS)
def test_five_thousand_classes(loss):
    head = head_of(loss, num_labels=5000, dimensions=16)
    embeddings, labels = batch_of(5000, clips=8, dimensions=16)
    embeddings = (1e3 * embeddings).requires_grad_()  # length must not matter to a cosine, nor overflow
    value = torch.tensor(0.0)
    for _ in range(3):
        similarities = head(embeddings)
        head.adapt(similarities, labels)
        value = head.loss(similarities, labels).mean()
    value.backward()
    assert embeddings.grad is not None
    assert value.isfinite() and embeddings.grad.isfinite().all()


@pytest.mark.parametrize("num_labels", [2, 300])
@pytest.mark.parametrize("loss", HEADS)
def test_every_loss_learns(loss, num_labels):
    head = head_of(loss, num_labels, dimensions=32)
    embeddings, labels = batch_of(num_labels, clips=64, dimensions=32)
    embeddings.requires_grad_()
    optimizer = torch.optim.Adam([embeddings, *head.parameters()], lr=0.05)
    for _ in range(150):
        similarities = head(embeddings)
        head.adapt(similarities, labels)
        optimizer.zero_grad()
        head.loss(similarities, labels).mean().backward()
        optimizer.step()
    assert (head.logits(head(embeddings)).argmax(1) == labels).float().mean() > 0.95
