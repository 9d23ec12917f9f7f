"""The number format in which an encoder multiplies."""

import logging
from functools import lru_cache

import torch

from ..models.choices import PrecisionName


logger = logging.getLogger(__name__)


def has_bfloat16(device: torch.device) -> bool:
    """
    Whether a device multiplies bfloat16 faster than float32: GPUs since NVIDIA's Ampere, processors with AMX (Intel
    Xeon since 2023). Those that have AVX-512's bfloat16 alone take longer than with float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def products_in(precision: PrecisionName, device: torch.device) -> torch.autocast:
    """
    A context in which matrix products and convolutions are computed in a number format. Weights, norms and softmax
    stay in float32, and so does everything on a device that does not gain from bfloat16.

    Args:
        precision (`"fp32"` or `"bf16"`): the format.
        device (`torch.device`): where they are computed.
    """
    is_used = precision == "bf16" and has_bfloat16(device)
    if precision == "bf16" and not is_used:
        _say_once(device.type)
    return torch.autocast(device.type, torch.bfloat16, enabled=is_used)


@lru_cache
def _say_once(device: str) -> None:
    name = {"cpu": "processor", "cuda": "GPU"}.get(device, "device")
    logger.warning("precision is bf16, which this %s does not compute faster; float32 is used instead.", name)
