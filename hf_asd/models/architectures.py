"""Everything that differs between model types, in one table: an encoder is added by its folder and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Architecture:
    """
    What this package knows about a model type. The defaults fit any encoder of transformers whose tokens run along
    time only, such as wav2vec 2.0.

    Args:
        config, model, feature_extractor (`tuple[str, str]`, *optional*): classes of this package, each as its module
            below `hf_asd` and its name; `None` where transformers has the class itself.
        prefix_tokens (`int`): tokens before the patches that represent the whole clip; the first is the CLS token.
        num_bands (`Callable`, *optional*): config -> number of patches along frequency; `None` for an encoder that
            takes samples instead of a spectrogram.
        band_by_band (`bool`): patches are ordered band by band instead of time step by time step.
        pooling_parameters (`dict[str, float]`): pooling -> its parameter, as published for this encoder; the values
            that were best for all encoders together by default.
        max_frames (`Callable`, *optional*): config -> the largest number of frames (10 ms each) that the encoder
            reads; `None` for any number.
        extractor_options (`Callable`, *optional*): config -> options of `feature_extractor` for published weights
            that come without one.
    """

    config: tuple[str, str] | None = None
    model: tuple[str, str] | None = None
    feature_extractor: tuple[str, str] | None = None
    prefix_tokens: int = 0
    num_bands: "Callable[[PreTrainedConfig], int] | None" = None
    band_by_band: bool = False
    pooling_parameters: dict[str, float] = field(
        default_factory=lambda: {"gwrp": 0.7, "gem": 6.0, "rdp": 10.0, "rdp_gem": 9.0, "bands_rdp": 4.0}
    )
    max_frames: "Callable[[PreTrainedConfig], int] | None" = None
    extractor_options: "Callable[[PreTrainedConfig], dict[str, Any]] | None" = None


# Model type -> what differs. Pooling parameters: K. Wilkinghoff et al. 2026 (arXiv 2603.04605), table III, and for
# bands_rdp arXiv 2608.00447 (BEATs).
ARCHITECTURES = {
    "eat": Architecture(
        config=("models.eat.configuration_eat", "EatConfig"),
        model=("models.eat.modeling_eat", "EatModel"),
        feature_extractor=("models.eat.feature_extraction_eat", "EatFeatureExtractor"),
        prefix_tokens=1,
        num_bands=lambda config: config.num_mel_bins // config.patch_size,
        extractor_options=lambda config: {"feature_size": config.num_mel_bins, "patch_size": config.patch_size},
        pooling_parameters={"gwrp": 0.9, "gem": 3.0, "rdp": 1.0, "rdp_gem": 1.0, "bands_rdp": 4.0},
    ),
    "beats": Architecture(
        config=("models.beats.configuration_beats", "BeatsConfig"),
        model=("models.beats.modeling_beats", "BeatsModel"),
        feature_extractor=("models.beats.feature_extraction_beats", "BeatsFeatureExtractor"),
        num_bands=lambda config: config.num_mel_bins // config.patch_size,
        pooling_parameters={"gwrp": 0.4, "gem": 10.0, "rdp": 19.0, "rdp_gem": 16.0, "bands_rdp": 4.0},
    ),
    "audio-spectrogram-transformer": Architecture(
        prefix_tokens=2,
        # Its patches overlap.
        num_bands=lambda config: (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
        band_by_band=True,
        max_frames=lambda config: config.max_length,
    ),
    "attribute_classifier": Architecture(
        config=("models.attribute_classifier.configuration_attribute_classifier", "AttributeClassifierConfig"),
        model=("models.attribute_classifier.modeling_attribute_classifier", "AttributeClassifier"),
    ),
}
# Where encoders keep their layers: EAT, BEATs and AST in the first, wav2vec 2.0, HuBERT and WavLM in the second.
LAYER_PATHS = ("layers", "encoder.layers")


def load_class(module: str, name: str):
    """A class of this package by its module below `hf_asd` and its name."""
    return getattr(import_module(f"hf_asd.{module}"), name)


def architecture_of(config: "PreTrainedConfig") -> Architecture:
    """The entry of a configuration's model type; the defaults for a type without an entry."""
    return ARCHITECTURES.get(config.model_type, Architecture())
