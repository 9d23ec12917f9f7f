"""What differs between encoders before their tokens are pooled: feature extractor and blocks."""

from copy import deepcopy
from pathlib import Path

from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, PreTrainedModel
from transformers.utils import FEATURE_EXTRACTOR_NAME
from transformers.utils.hub import has_file

from .eat.feature_extraction_eat import EatFeatureExtractor


def load_feature_extractor(encoder: str | Path):
    """
    The feature extractor of an encoder. EAT's weights were published without one; theirs has the default settings.

    Args:
        encoder (`str` or `Path`): id on the Hub or folder of the encoder.

    Returns:
        `FeatureExtractionMixin`.

    Raises:
        OSError: there is no such encoder, or it has no feature extractor.
    """
    config = AutoConfig.from_pretrained(encoder)
    if config.model_type == "eat" and not has_file(encoder, FEATURE_EXTRACTOR_NAME):
        return EatFeatureExtractor(feature_size=config.num_mel_bins, patch_size=config.patch_size)
    return AutoFeatureExtractor.from_pretrained(encoder)


def get_layers(model: PreTrainedModel) -> nn.ModuleList:
    """
    An encoder's transformer blocks.

    Raises:
        ValueError: the model keeps them where this function does not look.
    """
    for path in ("layers", "encoder.layers"):
        blocks = dict(model.named_modules()).get(path)
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise ValueError(
        f"layer is for encoders with their blocks in `layers` or `encoder.layers` (such as EAT, BEATs, AST, wav2vec "
        f"2.0, HuBERT, WavLM); a {model.config.model_type} has neither. Leave layer out for its last output."
    )


def truncate_layers(model: PreTrainedModel, layer: int) -> int:
    """
    Drops the blocks behind one, for good: what nobody looks at is not computed, kept in memory or saved.

    Args:
        model (`PreTrainedModel`): an encoder; changed in place. Its configuration is replaced by one with as many
            layers.
        layer (`int`): the last block to keep, from 1, or from -1 for the last one backwards.

    Returns:
        `int`: how many blocks are left.

    Raises:
        ValueError: there is no such block.
    """
    blocks = get_layers(model)
    count = len(blocks)
    if not 1 <= abs(layer) <= count:
        raise ValueError(
            f"layer is {layer}; this encoder has {count} blocks: accepted are 1 to {count}, and -1 to -{count} from "
            "the last one backwards."
        )
    kept = layer if layer > 0 else count + 1 + layer
    del blocks[kept:]
    model.config = deepcopy(model.config)  # another model may be built from the same one
    model.config.num_hidden_layers = kept
    return kept


def freeze_layers(encoder: PreTrainedModel, blocks: int):
    """
    Leaves only an encoder's last blocks to learn; embeddings, earlier blocks and what lies outside of blocks stay.

    Raises:
        ValueError: it has fewer blocks.
    """
    all_blocks = get_layers(encoder)
    if not 0 < blocks <= len(all_blocks):
        raise ValueError(f"num_trainable_layers is {blocks}; this encoder has {len(all_blocks)} blocks.")
    encoder.requires_grad_(False)
    for block in all_blocks[-blocks:]:
        block.requires_grad_(True)
