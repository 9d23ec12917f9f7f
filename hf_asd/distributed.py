"""Several processes (`torchrun`, `accelerate launch`): what each of them does, and data they exchange."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, gather_object, parse_flag_from_env


_works_alone = False


def partial_state() -> PartialState:
    """State of this process: its number, the number of processes, its device; also if there is only one process."""
    # Work of one process, such as checking recordings, may take hours while the others wait.
    return PartialState(cpu=use_cpu(), timeout=timedelta(days=7))


def compute_device() -> torch.device:
    """Device of this process."""
    return cast(torch.device, partial_state().device)


def use_cpu() -> bool:
    """Whether to ask accelerate for the CPU: otherwise, several processes without a GPU do not find each other."""
    launched = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    return launched or parse_flag_from_env("ACCELERATE_USE_CPU")


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process shares no rows with the others and waits for none: each has work of its own."""
    global _works_alone
    before, _works_alone = _works_alone, True
    try:
        yield
    finally:
        _works_alone = before


def works_alone() -> bool:
    """Whether this is within [`alone`]."""
    return _works_alone


def sharing() -> tuple[int, int]:
    """The number of this process, and how many processes share the rows of a dataset: one within [`alone`]."""
    state = partial_state()
    return (0, 1) if _works_alone else (state.process_index, state.num_processes)


def gather_lists(values: list[Any]) -> list[Any]:
    """The lists of all processes that share a dataset as one, in the order of the processes."""
    return values if sharing()[1] == 1 else gather_object(values)


def hardware() -> str:
    """Name of the hardware that all processes compute on, for cards."""
    state = partial_state()
    if compute_device().type == "cuda":
        device = torch.cuda.get_device_name(compute_device())
    else:
        device = f"{_processor()} ({os.cpu_count()} logical cores; PyTorch threads: {torch.get_num_threads()})"
    return device if state.num_processes == 1 else f"{state.num_processes} processes, each on {device}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")  # on Linux, where Python itself knows the architecture only
    for line in info.read_text(encoding="utf-8").splitlines() if info.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gather_rows(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """
    Concatenates tensors along their rows over all processes, in the order of the processes; without a gradient.

    Args:
        tensors (`torch.Tensor` of shape `(rows, ...)`): as many rows in every process.

    Returns:
        `tuple` of `torch.Tensor`, one for each.
    """
    partial_state()
    return cast(tuple[torch.Tensor, ...], gather(tuple(tensor.contiguous() for tensor in tensors)))


def broadcast(value):
    """The main process's value in all processes; others may see an older state of a shared file system."""
    partial_state()  # before accelerate makes one that does not find the other processes on a CPU
    values = [value]
    broadcast_object_list(values)
    return values[0]
