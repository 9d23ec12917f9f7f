"""Work on many clips, shared by the cores of a CPU."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch
from tqdm.auto import tqdm


Item = TypeVar("Item")
Result = TypeVar("Result")
TOGETHER = 32  # items between two steps of a progress bar
_sharing = threading.Lock()


def map_on_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """
    The results of `work` for each item, in their order.

    As many threads as torch may use take an item each and compute it alone. The operations of one clip are too small
    to be shared well: this way two cores embed 1.4 times as many clips a second.

    Args:
        work (`Callable`): spends its time in torch and numpy, which let other threads run.
        items (`Sequence`): its arguments.
    """
    threads = min(torch.get_num_threads(), len(items))
    # One at a time: the number of threads of an operation is a setting of the whole process.
    if threads < 2 or not _sharing.acquire(blocking=False):
        return [work(item) for item in items]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return list(_pool(before, os.getpid()).map(work, items))
    finally:
        torch.set_num_threads(before)
        _sharing.release()


def map_clips(work: Callable[[Item], Result], clips: Sequence[Item], description: str) -> list[Result]:
    """
    As [`map_on_cores`], for many clips: with a progress bar where it takes more than two seconds.

    Args:
        work, clips: as there.
        description (`str`): of the bar.
    """
    results: list[Result] = []
    with tqdm(total=len(clips), desc=description, unit="clip", delay=2) as progress:
        for start in range(0, len(clips), TOGETHER):
            some = clips[start : start + TOGETHER]
            results += map_on_cores(work, some)
            progress.update(len(some))
    return results


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay: starting one takes milliseconds. A forked process has none of its parent's."""
    return ThreadPoolExecutor(threads)
