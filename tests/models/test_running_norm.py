from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from hf_asd import AttributeClassifier, AttributeClassifierConfig, EatConfig
from hf_asd.models.attribute_classifier.running_norm import RunningNorm


TINY: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def test_running_values_start_from_clips_and_follow_a_step_by_a_tenth():
    rng = np.random.default_rng(0)
    first, *steps = (rng.normal(3, 2, (20, 5)).astype(np.float32) for _ in range(4))
    layer = RunningNorm(5).train()
    layer.fit(torch.from_numpy(first))
    mean, variance = first.mean(0), first.var(0)
    for step in steps:
        # Two batches a step: the values stand still until it ends.
        expected = (step - mean) / np.sqrt(variance + 1e-5)
        found = torch.cat([layer(half) for half in torch.from_numpy(step).split(10)])
        np.testing.assert_allclose(found, expected, atol=1e-4)
        variance = 0.9 * variance + 0.1 * np.square(step - mean).mean(0)
        mean = 0.9 * mean + 0.1 * step.mean(0)
        layer.update()
        np.testing.assert_allclose(layer.mean, mean, atol=1e-5)
        np.testing.assert_allclose(layer.variance, variance, atol=1e-4)
    layer.eval()
    layer(torch.from_numpy(first))
    assert layer.count == 0


def test_the_gradient_takes_running_values_as_given():
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    layer = RunningNorm(3).double().train()
    layer.fit(torch.randn(9, 3).double())
    layer(features).sum().backward()
    expected = (1 / (layer.variance + 1e-5).sqrt()).expand(4, 3)
    torch.testing.assert_close(features.grad, expected.to(features.grad), atol=1e-6, rtol=0)


def test_what_all_clips_have_in_common_is_kept_from_the_head_but_not_from_detection(tmp_path):
    torch.manual_seed(0)
    config = AttributeClassifierConfig(encoder_config=EatConfig(**TINY), id2label={0: "a", 1: "b", 2: "c"})
    model, features = AttributeClassifier(config).eval(), torch.randn(8, 32)
    model.running_norm.fit(features)
    plain = model(pooled=features)
    model.running_norm.fit(7 * features + 100)
    shifted = model(pooled=7 * features + 100)
    torch.testing.assert_close(shifted.logits, plain.logits, atol=1e-2, rtol=0)
    assert torch.equal(shifted.embeddings, 7 * features + 100)
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoModel.from_pretrained(tmp_path)(pooled=features).logits, model(pooled=features).logits)
