"""Converts BEATs' official checkpoints to a model folder of this package."""

import re
from pathlib import Path

import torch

from ..checkpoint import fill, read_checkpoint
from ..tone_check import store_tone_output
from .configuration_beats import BeatsConfig
from .feature_extraction_beats import BeatsFeatureExtractor
from .modeling_beats import BeatsModel


# Settings in an official checkpoint -> our name, and the value of a missing one.
OFFICIAL_SETTINGS = {
    "input_patch_size": ("patch_size", 16),
    "embed_dim": ("patch_embedding_size", 512),
    "encoder_layers": ("num_hidden_layers", 12),
    "encoder_embed_dim": ("hidden_size", 768),
    "encoder_ffn_embed_dim": ("intermediate_size", 3072),
    "encoder_attention_heads": ("num_attention_heads", 12),
    "dropout": ("hidden_dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "conv_pos": ("num_conv_pos_embeddings", 128),
    "conv_pos_groups": ("num_conv_pos_embedding_groups", 16),
    "num_buckets": ("num_buckets", 320),
    "max_distance": ("max_distance", 1280),
}
# Settings of which this model supports one value only: that value, and the value of a missing setting.
OFFICIAL_FIXED = {
    "activation_fn": ("gelu", "gelu"),
    "conv_bias": (False, False),
    "layer_norm_first": (False, False),
    "deep_norm": (True, False),
    "relative_position_embedding": (True, False),
    "gru_rel_pos": (True, False),
}
# Names of weights in an official checkpoint, and ours; applied one after the other.
OFFICIAL_KEYS = {
    r"^(patch_embedding|layer_norm|post_extract_proj)\.": r"embeddings.\1.",
    r"^embeddings\.layer_norm\.": "embeddings.norm.",
    r"^embeddings\.post_extract_proj\.": "embeddings.projection.",
    r"^encoder\.pos_conv\.0\.": "position_embedding.convolution.",
    r"\.weight_g$": ".parametrizations.weight.original0",
    r"\.weight_v$": ".parametrizations.weight.original1",
    r"^encoder\.layer_norm\.": "norm.",
    r"^encoder\.layers\.": "layers.",
    r"\.self_attn\.": ".attention.",
    r"\.grep_linear\.": ".gate.",
    r"\.grep_a$": ".gate_scale",
    r"\.self_attn_layer_norm\.": ".norm1.",
    r"\.final_layer_norm\.": ".norm2.",
    r"\.(fc1|fc2)\.": r".mlp.\1.",
    r"^layers\.0\.attention\.relative_attention_bias\.": "relative_position_bias.embedding.",
}
# Weights that ESPnet's code uses to find padding; they hold ones.
ESPNET_UNUSED = r"^(patch_embedding_pad|raw2fbank_pad)\."
# All layers share the bias of the first.
SHARED_BIAS = r"^layers\.\d+\.attention\.relative_attention_bias\.weight$"


def convert_beats(
    checkpoint: str | Path,
    output_dir: str | Path,
    settings: dict | None = None,
    mean_std: tuple[float, float] | None = None,
) -> Path:
    """
    Converts an official checkpoint of BEATs, or one of ESPnet (OpenBEATs), pre-trained or fine-tuned; the head of a
    fine-tuned one is dropped.

    Args:
        checkpoint (`str` or `Path`): the `.pt` file; code that it may contain is not run.
        output_dir (`str` or `Path`): folder for model and feature extractor.
        settings (`dict`, *optional*): the encoder's shape, under official names, for a checkpoint without it.
        mean_std (`tuple[float, float]`, *optional*): mean and standard deviation of the log energies that the encoder
            was trained with; by default BEATs' own.

    Returns:
        `Path`: `output_dir`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it contains more than weights and settings, or not those of a BEATs; names the settings, and the
            weights that are missing or surplus.
    """
    checkpoint, output_dir = Path(checkpoint), Path(output_dir)
    content = read_checkpoint(checkpoint, "{'cfg': c['cfg'], 'model': c['model']}")
    model = BeatsModel(_config(content.get("cfg") or settings, checkpoint))
    fill(model, _renamed(content["model"], checkpoint), str(checkpoint))
    statistics = {} if mean_std is None else dict(zip(("mean", "std"), mean_std, strict=True))
    extractor = BeatsFeatureExtractor(patch_size=model.config.patch_size, **statistics)
    model.save_pretrained(output_dir)
    extractor.save_pretrained(output_dir)
    store_tone_output(model, extractor, output_dir)
    return output_dir


def _config(settings: dict | None, checkpoint: Path) -> BeatsConfig:
    if not isinstance(settings, dict):
        raise ValueError(
            f"{checkpoint}: contains no settings of an encoder ('cfg' is a {type(settings).__name__}); accepted is an "
            "official checkpoint of BEATs, a dictionary with 'cfg' and 'model'."
        )
    for name, (value, default) in OFFICIAL_FIXED.items():
        found = settings.get(name, default)
        if found != value:
            raise ValueError(f"{checkpoint}: {name} is {found!r}; BeatsModel accepts {value!r} only.")
    return BeatsConfig(**{own: settings.get(name, default) for name, (own, default) in OFFICIAL_SETTINGS.items()})


def _renamed(weights: dict[str, torch.Tensor], checkpoint: Path) -> dict[str, torch.Tensor]:
    renamed, biases = {}, {}
    if "encoder.patch_embedding.weight" in weights:  # a whole model of ESPnet, of which the encoder is a part
        weights = {
            name.removeprefix("encoder."): weight for name, weight in weights.items() if name.startswith("encoder.")
        }
    for name, weight in weights.items():
        if re.match(ESPNET_UNUSED, name):
            continue
        own = name
        for pattern, replacement in OFFICIAL_KEYS.items():
            own = re.sub(pattern, replacement, own)
        if re.match(SHARED_BIAS, own):
            biases[name] = weight
        elif not own.startswith("predictor."):  # the head of a fine-tuned model
            renamed[own] = weight
    shared = renamed.get("relative_position_bias.embedding.weight")
    for name, weight in biases.items():
        if shared is None or not torch.equal(weight, shared):
            raise ValueError(
                f"{checkpoint}: {name} differs from that of layer 0; BeatsModel shares one in all layers."
            )
    return renamed
