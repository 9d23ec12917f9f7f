"""LoRA: small adapter matrices learn while the encoder is frozen (needs `pip install hf-asd[lora]`)."""

from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from ..models.encoders import get_layers
from .config import LoraOptions


def add_lora(encoder: PreTrainedModel, options: LoraOptions, source: str | Path) -> None:
    """
    Freezes an encoder and adds LoRA adapters to every linear layer of its transformer layers, in place.

    Args:
        encoder (`PreTrainedModel`): with layers that [`~hf_asd.models.encoders.get_layers`] finds.
        options ([`LoraOptions`]): rank, scaling and dropout.
        source (`str` or `Path`): where the encoder was loaded from; a saved adapter names it.

    References:
        E. J. Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1.
    """
    from peft import LoraConfig  # not installed by default; LoraOptions checks it

    linear = [name for name, module in get_layers(encoder).named_modules() if isinstance(module, nn.Linear)]
    encoder.requires_grad_(False)
    encoder.name_or_path = str(source)
    encoder.add_adapter(
        LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,  # pyright: ignore[reportArgumentType]  # peft accepts any number
            lora_dropout=options.dropout,
            target_modules=sorted({name.rpartition(".")[2] for name in linear}),
        )
    )


def merge_lora(encoder: PreTrainedModel) -> None:
    """Adds the adapters' products to the frozen weights and removes the adapters, in place; outputs do not change."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            encoder.set_submodule(name, layer.get_base_layer())
    encoder._hf_peft_config_loaded = False


def trainable_share(model: nn.Module) -> str:
    """For example `"trainable: 1.2 of 86.4 million parameters (1.4 %)"`."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total, trained = sum(count for count, _ in counts), sum(count for count, learns in counts if learns)
    return f"trainable: {trained / 1e6:.3g} of {total / 1e6:.3g} million parameters ({100 * trained / total:.2g} %)"
