"""Apple's GPU has no double precision: no model makes a float64 tensor off the CPU. Another device stands for it."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hf_asd import AttributeClassifierConfig, BeatsConfig, EatConfig, EatFeatureExtractor, EatForPreTraining
from hf_asd.models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from hf_asd.models.beats.feature_extraction_beats import BeatsFeatureExtractor
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.models.choices import LossName
from hf_asd.models.eat.modeling_eat import sincos_positions
from hf_asd.models.pooling import POOLINGS, check_pooling, clamp_outliers, pool
from hf_asd.options import choices


SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS = {
    "bundled": lambda: AutoConfig.from_pretrained(BUNDLED_ENCODER),
    "eat": lambda: EatConfig(**SMALL),
    "beats": lambda: BeatsConfig(**SMALL, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4),
    "ast": lambda: CONFIG_MAPPING["audio-spectrogram-transformer"](**SMALL, max_length=128),
}


class RefuseFloat64(TorchDispatchMode):
    """Every operation that makes a float64 tensor on a device is an error."""

    def __init__(self, device: str = "meta"):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.dtype == torch.float64
                and tensor.device.type == self.device
            ):
                raise TypeError(f"{func} makes a float64 tensor on {tensor.device}")
        return result


@pytest.fixture
def accelerator(monkeypatch):
    """The CPU stands for a device without double precision: training needs one that computes."""

    def made_elsewhere(*args):
        with _disable_current_modes():
            return sincos_positions(*args)

    monkeypatch.setattr("hf_asd.models.eat.modeling_eat.sincos_positions", made_elsewhere)
    return RefuseFloat64("cpu")


def inputs(frames: int = 128) -> torch.Tensor:
    return torch.zeros(2, frames, 128, device="meta")


def test_the_test_notices_double_precision():
    with pytest.raises(TypeError, match="float64 tensor on meta"), RefuseFloat64():
        torch.zeros(2, device="meta").double()
    with RefuseFloat64():
        torch.zeros(2).double()


@pytest.mark.parametrize("name", CONFIGS)
def test_encoders_and_poolings(name):
    config: PreTrainedConfig = CONFIGS[name]()
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.float32)
    with RefuseFloat64():
        states = model(inputs()).last_hidden_state
        for pooling in POOLINGS:
            try:
                check_pooling(config, pooling)
            except ValueError:
                continue
            assert pool(clamp_outliers(states), pooling, config).dtype == torch.float32


@pytest.mark.parametrize("loss", choices(LossName))
def test_attribute_classifier(loss, accelerator):
    config = AttributeClassifierConfig(
        encoder_config=EatConfig(**SMALL), pooling="mean", loss=loss, num_centers=2, id2label={0: "a", 1: "b", 2: "c"}
    )
    model = AttributeClassifier(config)
    with accelerator:
        outputs = model(torch.randn(2, 128, 128), labels=torch.tensor([0, 2]))
        outputs.loss.backward()
    assert outputs.embeddings.dtype == torch.float32


@pytest.mark.parametrize("extractor", [EatFeatureExtractor(), BeatsFeatureExtractor()], ids=["eat", "beats"])
def test_filter_bank(extractor):
    with RefuseFloat64():
        features = extractor(torch.zeros(2, 16_000, device="meta"), sampling_rate=16_000, device="meta")
    assert features["input_values"].dtype == torch.float32


def test_pretraining(accelerator):
    model = EatForPreTraining(EatConfig(**SMALL, projection_size=8))
    visible = torch.stack([torch.arange(12)] * 4).view(2, 2, 12)
    with accelerator:
        outputs = model(torch.randn(2, 128, 128), visible, torch.tensor([1, 2]))
        outputs.loss.backward()
    assert outputs.loss.dtype == torch.float32


def test_positions_are_as_exact_as_on_the_cpu():
    """Of the last of 1000 time steps, against Python's own sine."""
    positions = sincos_positions(1000, 8, 16, torch.device("cpu"))
    expected = [math.sin(999 * 10_000 ** (-k / 4)) for k in range(4)]
    torch.testing.assert_close(positions[-1, 8:12], torch.tensor(expected), atol=1e-6, rtol=0)
    assert sincos_positions(1000, 8, 16, torch.device("meta")).device.type == "meta"
