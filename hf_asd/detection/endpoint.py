"""Decisions for an Inference Endpoint of the Hub: its server makes an [`EndpointHandler`] and calls it."""

import base64
import binascii
from pathlib import Path
from typing import Any

import torch

from .detector import AnomalyDetector


PARAMETERS = ("machine", "explain", "window_seconds")


class EndpointHandler:
    """
    Answers requests with decisions of a detector.

    Args:
        path (`str` or `Path`): the detector's folder.
    """

    def __init__(self, path: str | Path = "."):
        self.detector = AnomalyDetector.from_pretrained(Path(path))
        if torch.cuda.is_available():
            self.detector.to("cuda")

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """
        Decides about one recording.

        Args:
            data (`dict`): `inputs`, the content of an audio file: as bytes, as the server gives them for a request of
                a type such as `audio/wav`, or encoded in base64, as in a request of JSON; and, if wanted,
                `parameters` with `machine`, `explain` (by default true) and `window_seconds`, as for calling a
                detector.

        Returns:
            `dict`: the fields of the [`~hf_asd.detection.decision.Decision`], or `error` with a sentence about what
            cannot be used.
        """
        try:
            decision = self.detector(_content(data.get("inputs")), **self._options(data.get("parameters") or {}))
        except (ValueError, TypeError) as error:  # a BadAudioError is a ValueError
            return {"error": str(error)}
        return decision.to_dict()

    def _options(self, parameters: Any) -> dict[str, Any]:
        if not isinstance(parameters, dict):
            raise ValueError(f"parameters is {parameters!r}; accepted is an object with {', '.join(PARAMETERS)}.")
        if unknown := sorted(set(parameters) - set(PARAMETERS)):
            raise ValueError(f"parameters has {', '.join(unknown)}; accepted are {', '.join(PARAMETERS)}.")
        options = {"explain": True, **parameters}
        if not isinstance(options["explain"], bool):
            raise ValueError(f"explain is {options['explain']!r}; accepted are true and false.")
        if options.get("machine") is not None:  # in an address a number stands for a name of digits
            options["machine"] = str(options["machine"])
        return options


def _content(inputs: Any) -> bytes:
    """The bytes of an audio file. Text is never a path or an address: it would be read on the server."""
    if isinstance(inputs, bytes | bytearray):
        return bytes(inputs)
    if not isinstance(inputs, str):
        found = "is missing" if inputs is None else f"is of type {type(inputs).__name__}"
        raise ValueError(
            f"inputs {found}; accepted is the content of an audio file: send it with a content type such as "
            "audio/wav, or encoded in base64 in JSON."
        )
    text = inputs.partition(";base64,")[2] if inputs.startswith("data:") else inputs
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(
            f"inputs is not base64 ({error}); accepted is the content of an audio file, encoded in base64."
        ) from error
