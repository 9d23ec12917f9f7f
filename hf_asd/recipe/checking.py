"""Checks a recipe against what it names before the first stage: files, training arguments, the encoder's config."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import check_writable
from ..options import nearest
from .config import Recipe


if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def check_recipe(recipe: Recipe) -> None:
    """
    Checks what a recipe's own options cannot: whether files exist, whether the encoder has the pooling and the layers
    that are asked for, and names of training arguments. Reads the encoder's configuration, not its weights.

    Args:
        recipe ([`Recipe`]): all sections.

    Raises:
        FileNotFoundError: a file or folder does not exist.
        OSError: there is no such encoder.
        ValueError: an option that the encoder or another option contradicts; names the option.
    """
    _check_files(recipe)
    for section in ("pretrain", "finetune"):
        _check_training(section, getattr(recipe, section).training)
    encoder = _encoder_config(recipe)
    _check_pooling(recipe, encoder)
    _check_layers(recipe, encoder)
    _check_embedding_size(recipe, encoder)


def _check_files(recipe: Recipe) -> None:
    named = {
        "data.path": recipe.data.path,
        "attributes_file": recipe.attributes_file,
        "cluster.names_file": recipe.cluster.names_file,
        "cluster.labels_file": recipe.cluster.labels_file,
        "evaluate.attributes_file": recipe.evaluate.attributes_file,
    }
    named |= {
        f"pretrain.datasets[{number}].path": source.path for number, source in enumerate(recipe.pretrain.datasets)
    }
    for option, path in named.items():
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{option} is {path}; there is no such file or folder.")
    check_writable("output_dir", recipe.output_dir, is_folder=True)
    output_dir = Path(recipe.output_dir).resolve()
    for option, path in named.items():
        if path is None or not option.startswith(("data.", "pretrain.")):
            continue
        if output_dir.is_relative_to(Path(path).resolve()):
            raise ValueError(
                f"output_dir is {recipe.output_dir}, which lies in {option} ({path}): the results would count as "
                "changed data, and every stage would run again. Give another output_dir."
            )


def _check_training(section: str, training: dict[str, Any]) -> None:
    if not training:
        return
    from transformers import TrainingArguments

    known = {field.name: field.default for field in fields(TrainingArguments) if field.init}
    for name, value in training.items():
        if name not in known:
            raise ValueError(
                f"{section}.training.{name} is not an option of transformers' TrainingArguments; did you mean "
                f"{nearest(name, known)}?"
            )
        default = known[name]
        if isinstance(default, int | float) and not isinstance(default, bool) and value != default:
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"{section}.training.{name} is {value!r}; accepted are numbers from 0.")


def _encoder_config(recipe: Recipe) -> "PreTrainedConfig":
    """The configuration of the encoder that pre-training continues with or starts from."""
    from transformers import AutoConfig

    from ..models.eat.configuration_eat import EatConfig
    from ..models.hub_checkpoints import local_encoder

    if recipe.pretrain.encoder is not None:
        config = AutoConfig.from_pretrained(local_encoder(recipe.pretrain.encoder), trust_remote_code=False)
        if config.model_type != "eat" and "pretrain" not in recipe.skip:
            raise ValueError(
                f"pretrain.encoder is {recipe.pretrain.encoder}, a {config.model_type}; accepted are EAT encoders."
            )
        return config
    if "projection_size" in recipe.pretrain.model:
        raise ValueError(
            "pretrain.model.projection_size is given, but it would not be used: it follows from "
            "pretrain.contrast_weight. Leave it out."
        )
    known = [field.name for field in fields(EatConfig) if field.init]  # pyright: ignore[reportArgumentType]
    for name in recipe.pretrain.model:
        if name not in known:
            raise ValueError(
                f"pretrain.model.{name} is not an option of EatConfig; did you mean {nearest(name, known)}?"
            )
    with _named("pretrain.model"):
        return EatConfig(**recipe.pretrain.model)


def _check_pooling(recipe: Recipe, encoder: "PreTrainedConfig") -> None:
    from ..models.pooling import check_pooling

    for section in ("embed", _pooled_by(recipe)):
        with _named(section):
            options = getattr(recipe, section)
            check_pooling(encoder, options.pooling or "mean", options.pooling_parameter)


def _pooled_by(recipe: Recipe) -> str:
    """The section that says how the detector's encoder is pooled."""
    return "fit" if "finetune" in recipe.skip else "finetune"


def _check_layers(recipe: Recipe, encoder: "PreTrainedConfig") -> None:
    count = encoder.num_hidden_layers
    trainable = recipe.finetune.num_trainable_layers
    for section, layer in (("embed", recipe.embed.layer), ("fit", recipe.fit.layer)):
        if isinstance(layer, int) and not 1 <= abs(layer) <= count:
            raise ValueError(
                f"{section}.layer is {layer}; this encoder has {count} layers: accepted are 1 to {count}, -1 to "
                f"-{count} backwards from the last one, mean, and none."
            )
    if trainable is not None and trainable > count:
        raise ValueError(
            f"finetune.num_trainable_layers is {trainable}; this encoder has {count} layers: accepted are 0 to "
            f"{count}, and none for all."
        )


def _check_embedding_size(recipe: Recipe, encoder: "PreTrainedConfig") -> None:
    from ..models.pooling import embedding_size

    pooled = embedding_size(encoder, getattr(recipe, _pooled_by(recipe)).pooling or "mean")
    projected = recipe.finetune.projection_size
    in_head, compared = projected or pooled, pooled
    if recipe.finetune.embedding_from == "projection" and projected is not None:
        compared = projected
    if recipe.finetune.loss == "adaproj" and recipe.finetune.num_centers >= in_head:
        raise ValueError(
            f"finetune.num_centers is {recipe.finetune.num_centers}; with loss adaproj it has to be below the "
            f"{in_head} dimensions of the embedding."
        )
    if compared % recipe.fit.num_bands:
        raise ValueError(
            f"fit.num_bands is {recipe.fit.num_bands}, which does not divide the {compared} embedding dimensions."
        )


@contextmanager
def _named(section: str) -> Iterator[None]:
    """Puts the section's name in front of an error that names one of its options."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{section}.{error}") from error
