"""Converts checkpoints of EAT's own code, written by fairseq, to a model folder of this package."""

import re
from pathlib import Path

import torch

from ..checkpoint import fill, read_checkpoint
from ..tone_check import store_tone_output
from .configuration_eat import EatConfig
from .feature_extraction_eat import EatFeatureExtractor
from .modeling_eat import PUBLISHED_KEYS, UNUSED_KEYS
from .pretraining_eat import EatForPreTraining


# Names in a fairseq checkpoint, and ours; the rest of them is as in the published weights.
FAIRSEQ_KEYS = {
    r"^(model\.)?modality_encoders\.IMAGE\.": "",
    r"^context_encoder\.norm\.": "pre_norm.",
    r"^decoder\.blocks\.(\d+)\.0\.": r"decoder.convolutions.\1.",
    r"^decoder\.proj\.": "decoder.projection.",
    **PUBLISHED_KEYS,
}
HEAD_CHANNELS = 64  # per attention head in all published sizes; the number of heads does not follow from the weights


def convert_eat(checkpoint: str | Path, output_dir: str | Path, ema: bool = False) -> Path:
    """
    Converts a checkpoint of EAT's own code.

    A checkpoint of pre-training becomes an [`EatForPreTraining`] with student, decoder and teacher, whose training can
    be continued; `AutoModel` loads its encoder. One of fine-tuning, or without a decoder, becomes an [`EatModel`].

    Args:
        checkpoint (`str` or `Path`): the `.pt` file; code that it may contain is not run.
        output_dir (`str` or `Path`): folder for model and feature extractor.
        ema (`bool`, *optional*, defaults to `False`): use the teacher's weights, a moving average, for the encoder.

    Returns:
        `Path`: `output_dir`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it contains more than weights, or not those of an EAT; names the weights that are missing or
            surplus.
    """
    checkpoint, output_dir = Path(checkpoint), Path(output_dir)
    content = read_checkpoint(checkpoint, "{'model': c['model']}")
    weights = dict(content["model"])
    teacher = weights.pop("_ema", None)
    if ema and teacher is None:
        raise ValueError(f"{checkpoint}: contains no teacher (`_ema`); convert it without --ema.")
    weights, teacher = _renamed(weights), _renamed(teacher or {})
    names = [name for name in weights if name.startswith("decoder.")]
    decoder = {name.removeprefix("decoder."): weights.pop(name) for name in names}
    encoder = teacher if ema else weights
    settings = content["cfg"].get("model", {}) if isinstance(content.get("cfg"), dict) else {}
    model = EatForPreTraining(_config(encoder, decoder, settings, checkpoint))
    fill(model.eat, encoder, str(checkpoint))
    if decoder:
        fill(model.decoder, decoder, f"{checkpoint}, decoder")
        fill(model.teacher, teacher or encoder, f"{checkpoint}, teacher (`_ema`)")
    (model if decoder else model.eat).save_pretrained(output_dir)
    extractor = EatFeatureExtractor()
    extractor.save_pretrained(output_dir)
    store_tone_output(model.eat, extractor, output_dir)
    return output_dir


def _renamed(weights: dict) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, weight in weights.items():
        # A final norm belongs to layers that normalize their input; it is not the norm before the layers.
        own = f"final {name}" if re.match(r"(model\.)?norm\.", name) else name
        for pattern, replacement in FAIRSEQ_KEYS.items():
            own = re.sub(pattern, replacement, own)
        if not any(re.match(pattern, own) for pattern in UNUSED_KEYS):
            renamed[own] = weight
    return renamed


def _config(encoder: dict, decoder: dict, settings: dict, checkpoint: Path) -> EatConfig:
    """The shape of the weights; the default one if they are not an EAT's, which causes an error later."""
    options = {}
    depths = [int(name.split(".")[1]) for name in encoder if name.startswith("layers.")]
    patches, mlp = (encoder.get(f"{name}.weight") for name in ("embeddings.patch_embedding", "layers.0.mlp.fc1"))
    if depths and patches is not None and mlp is not None:
        if "num_heads" not in settings and len(patches) % HEAD_CHANNELS:
            raise ValueError(
                f"{checkpoint}: its {len(patches)} channels are not a multiple of {HEAD_CHANNELS} as in the published "
                "sizes, so the number of attention heads is unknown; store {'cfg': {'model': {'num_heads': ...}}} "
                "beside 'model'."
            )
        options = {
            "hidden_size": len(patches),
            "num_hidden_layers": settings.get("depth", 1 + max(depths)),
            "num_attention_heads": settings.get("num_heads", len(patches) // HEAD_CHANNELS),
            "intermediate_size": len(mlp),
            "patch_size": patches.shape[-1],
        }
    convolution = decoder.get("convolutions.0.weight")
    if convolution is not None:
        options["decoder_layers"] = sum(
            re.fullmatch(r"convolutions\.\d+\.weight", name) is not None for name in decoder
        )
        options["decoder_groups"] = convolution.shape[0] // convolution.shape[1]
        options["decoder_kernel"] = convolution.shape[-1]
    return EatConfig(**options)
