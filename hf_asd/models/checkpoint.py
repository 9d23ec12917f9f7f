"""Loading weights strictly, from models and from checkpoints of other projects: none may be missing or unused."""

import argparse
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel


class StrictPreTrainedModel(PreTrainedModel):
    """
    A model that loads only if no weight is missing, surplus or of another shape.

    Class attributes:
        published_keys (`dict[str, str]`): patterns of names in published weights and their replacements, applied one
            after the other while loading.
    """

    published_keys: dict[str, str] | None = None

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, source, *args, ignore_mismatched_sizes: bool = False, output_loading_info: bool = False, **kwargs
    ) -> Any:
        """
        As `PreTrainedModel.from_pretrained`, but missing and unused weights are an error.

        Raises:
            ValueError: names the weights that are missing, surplus or of another shape.
        """
        loaded: Any = super().from_pretrained(
            source,
            *args,
            key_mapping=cls.published_keys,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **kwargs,
        )
        model, info = loaded
        mismatched = [] if ignore_mismatched_sizes else info["mismatched_keys"]
        mismatched = [f"{name} {tuple(found)} instead of {tuple(wanted)}" for name, found, wanted in mismatched]
        check_keys(source, info["missing_keys"], info["unexpected_keys"], mismatched)
        return (model, info) if output_loading_info else model


def check_keys(source, missing: Iterable[str], surplus: Iterable[str], mismatched: Iterable[str]) -> None:
    """
    Checks that exactly the weights of a model were found.

    Args:
        source (`str` or `Path`): what was loaded, for the message.
        missing (`Iterable[str]`): weights of the model that were not found.
        surplus (`Iterable[str]`): weights that were found but do not belong to the model.
        mismatched (`Iterable[str]`): weights of another shape, with both shapes.

    Raises:
        ValueError: there are any; names them.
    """
    faults = {"missing": missing, "surplus": surplus, "of another shape": mismatched}
    found = [f"{what}: {', '.join(sorted(keys))}" for what, keys in faults.items() if keys]
    if found:
        raise ValueError(f"{source}: the weights do not fit the model in its configuration; {'; '.join(found)}.")


def fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """
    Loads the weights of a part of a model if all of them fit.

    Raises:
        ValueError: names the weights that are missing, surplus or of another shape.
    """
    wanted = module.state_dict()
    mismatched = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted.keys() & weights.keys()
        if weights[name].shape != wanted[name].shape
    ]
    check_keys(source, wanted.keys() - weights.keys(), weights.keys() - wanted.keys(), mismatched)
    module.load_state_dict(weights)


def read_checkpoint(checkpoint: Path, kept: str) -> dict:
    """
    Reads a `.pt` file without running any code that it may hold.

    Args:
        checkpoint (`Path`): the file.
        kept (`str`): Python source of a dictionary with the needed parts of the file's content `c`, for the message
            if the file has more than weights.

    Returns:
        `dict`: the content, with the weights under `"model"`, where those of a file of weights alone are put, too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, has more than weights, or has none under `"model"`.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{checkpoint}: no such file.")
    with open(checkpoint, "rb") as file:
        if not file.read(2).startswith((b"PK", b"\x80")):  # a zip archive, or a pickle of earlier versions
            raise ValueError(f"{checkpoint}: was not written by torch.save; accepted are published .pt files.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{checkpoint}: is incomplete or damaged; copy or download it again. ({error})") from error
    except pickle.UnpicklingError as error:
        other = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        found = f"it contains a {other[1]}" if other else str(error).splitlines()[0]
        raise ValueError(
            f"{checkpoint}: contains more than weights ({found}). If you trust the file, extract the weights (this "
            "may need more packages, such as omegaconf for settings of fairseq) by\n"
            f"  python -c \"import torch; c = torch.load('{checkpoint}', map_location='cpu', weights_only=False); "
            f"torch.save({kept}, 'weights.pt')\"\n"
            "and convert weights.pt."
        ) from error
    if isinstance(content, dict) and content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return {"model": content}
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{checkpoint}: contains {found}; accepted is a dictionary with the weights under 'model'.")
    return content
