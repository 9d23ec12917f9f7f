"""Several processes (`torchrun`, `accelerate launch`): who does what alone, and who waits."""

import os
import platform
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, parse_flag_from_env


def partial_state() -> PartialState:
    """This process among all of them; alone where nothing launched several."""
    # What one process does alone, such as checking recordings, may take hours while the others wait.
    return PartialState(cpu=use_cpu(), timeout=timedelta(days=7))


def use_cpu() -> bool:
    """Whether accelerate has to be told of the CPU: without it, processes that find no GPU do not find each other."""
    launched = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    return launched or parse_flag_from_env("ACCELERATE_USE_CPU")


def hardware() -> str:
    """What this process and the others compute on, as the machine names it, for cards."""
    state = partial_state()
    if state.device.type == "cuda":
        device = torch.cuda.get_device_name(state.device)
    else:
        device = f"{_processor()} ({os.cpu_count()} logical cores; PyTorch threads: {torch.get_num_threads()})"
    return device if state.num_processes == 1 else f"{state.num_processes} processes, each on {device}"


def _processor() -> str:
    told = Path("/proc/cpuinfo")  # of Linux, where Python itself knows the architecture only
    for line in told.read_text(encoding="utf-8").splitlines() if told.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gather_rows(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The rows of all processes, those of the first one first; no gradient flows back."""
    partial_state()
    return gather(tuple(tensor.contiguous() for tensor in tensors))


def broadcast(value):
    """What the main process found: others may see an older state of the file system that they share."""
    values = [value]
    broadcast_object_list(values)
    return values[0]
