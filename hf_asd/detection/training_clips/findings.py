"""What `fit` says about the recordings that it learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, field


MOST_NAMES = 12  # recordings that one line names


@dataclass
class TrainingFindings:
    """
    What stands out among the normal recordings of one machine.

    Args:
        copies (`dict[str, str]`): a recording that is a copy, and the one that counts instead.
        left_out (`dict[str, str]`): a recording that the detector does not learn from, and why.
        unusual (`dict[str, str]`): a recording that it learns from although it is unlike the others, and in what.
        remarks (`list[str]`): about the recordings as a whole.
    """

    copies: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unusual: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """All of it in plain sentences; nothing where nothing stands out."""
        lines = []
        if self.copies:
            count = len(self.copies)
            pairs = listed([f"{copy} = {first}" for copy, first in self.copies.items()])
            what = "1 recording is a copy and counts" if count == 1 else f"{count} recordings are copies and count"
            lines.append(f"{what} once: {pairs}.")
        lines += [f"LEFT OUT: {name}: {why}" for name, why in self.left_out.items()]
        lines += [f"Listen to {name}: {why}" for name, why in self.unusual.items()]
        return lines + self.remarks


def listed(names: Sequence[str]) -> str:
    """Names in one line, the first dozen of them."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
