"""Several processes (`torchrun`, `accelerate launch`): who does what alone, and who waits."""

from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import broadcast_object_list


def processes() -> PartialState:
    """This process among all of them; alone where nothing launched several."""
    # What one process does alone, such as checking recordings, may take hours while the others wait.
    return PartialState(timeout=timedelta(days=7))


def from_main(value):
    """What the main process found: others may see an older state of the file system that they share."""
    values = [value]
    broadcast_object_list(values)
    return values[0]
