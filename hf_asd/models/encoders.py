"""Loading an encoder's feature extractor; keeping or freezing its layers."""

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, PreTrainedModel
from transformers.utils import FEATURE_EXTRACTOR_NAME
from transformers.utils.hub import has_file

from .architectures import LAYER_PATHS, architecture_of, load_class


def load_feature_extractor(encoder: str | Path):
    """
    The feature extractor of an encoder. Published EAT weights come without one; they get one with default settings.

    Args:
        encoder (`str` or `Path`): id on the Hub or folder of the encoder.

    Returns:
        `FeatureExtractionMixin`.

    Raises:
        OSError: there is no such encoder, or it has no feature extractor.
    """
    config = AutoConfig.from_pretrained(encoder, trust_remote_code=False)
    architecture = architecture_of(config)
    options, extractor = architecture.extractor_options, architecture.feature_extractor
    if options is not None and extractor is not None and not has_file(encoder, FEATURE_EXTRACTOR_NAME):
        return load_class(*extractor)(**options(config))
    return AutoFeatureExtractor.from_pretrained(encoder, trust_remote_code=False)


def load_weights(model_class: Any, encoder: str | Path, **options) -> Any:
    """
    A pretrained model; code that its repository may hold is not run.

    Args:
        model_class: a model or Auto class, with `from_pretrained`.
        encoder (`str` or `Path`): id on the Hub or folder of the encoder.
        options: of `from_pretrained`.

    Raises:
        OSError: there are no weights.
        ValueError: the weights are damaged, or do not fit the model.
    """
    try:
        return model_class.from_pretrained(encoder, trust_remote_code=False, **options)
    except SafetensorError as error:
        raise ValueError(
            f"{encoder}: its weights are incomplete or damaged ({error}). Copy or download them again."
        ) from error


def get_layers(model: PreTrainedModel) -> nn.ModuleList:
    """
    An encoder's transformer layers.

    Raises:
        ValueError: the model keeps them under an unknown name.
    """
    modules = dict(model.named_modules())
    for path in LAYER_PATHS:
        if isinstance(modules.get(path), nn.ModuleList):
            return cast(nn.ModuleList, modules[path])
    raise ValueError(
        f"layer is for encoders with their layers in `{'` or `'.join(LAYER_PATHS)}` (such as EAT, BEATs, AST, wav2vec "
        f"2.0, HuBERT, WavLM); a {model.config.model_type} has neither. Leave layer out to use the last output."
    )


def truncate_layers(model: PreTrainedModel, layer: int) -> int:
    """
    Removes the layers after one from a model, so that they are neither computed nor kept in memory nor saved.

    Args:
        model (`PreTrainedModel`): an encoder; changed in place. Its configuration is replaced by one with as many
            layers.
        layer (`int`): the last layer to keep, from 1, or from -1 for the last one backwards.

    Returns:
        `int`: number of layers that are left.

    Raises:
        ValueError: there is no such layer.
    """
    layers = get_layers(model)
    count = len(layers)
    if not 1 <= abs(layer) <= count:
        raise ValueError(
            f"layer is {layer}; this encoder has {count} layers: accepted are 1 to {count}, and -1 to -{count} from "
            "the last one backwards."
        )
    kept = layer if layer > 0 else count + 1 + layer
    del layers[kept:]
    model.config = deepcopy(model.config)  # another model may use the same one
    model.config.num_hidden_layers = kept
    return kept


def freeze_layers(encoder: PreTrainedModel, num_trainable_layers: int) -> None:
    """
    Freezes all of an encoder except its last layers, in place.

    Args:
        encoder (`PreTrainedModel`): the encoder.
        num_trainable_layers (`int`): number of last layers that learn.

    Raises:
        ValueError: it has fewer layers.
    """
    layers = get_layers(encoder)
    if not 0 < num_trainable_layers <= len(layers):
        raise ValueError(f"num_trainable_layers is {num_trainable_layers}; this encoder has {len(layers)} layers.")
    encoder.requires_grad_(False)
    for layer in layers[-num_trainable_layers:]:
        layer.requires_grad_(True)
