"""What was understood of a folder, in a few lines."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .listing import describe_ignored, printable


MAX_MACHINES, MAX_WORDS = 4, 5


@dataclass
class FolderSummary:
    """
    What was understood of a folder of recordings.

    Args:
        name (`str`): the folder as it was given.
        counts (`dict[str, Counter[str]]`): machine -> number of recordings by `"train"` (normal ones to learn from)
            and, of the test recordings, by condition.
        sessions (`dict[str, list[str]]`): machine -> its sessions.
        session_sources (`dict[str, str]`): machine -> what its sessions follow from, where neither folders nor tables
            name them.
        words (`dict[str, list[str]]`): meaning (`"normal"`, `"anomaly"`, `"test"`, ...) -> names of folders,
            files, or `column=cell` that have it.
        ignored (`dict[str, list[str]]`): kind -> names of what was left out.
        problems (`list[str]`): a message for everything that could not be opened.
        notes (`list[str]`): what had to be assumed.
    """

    name: str
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sessions: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    session_sources: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ignored: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_row(self, row: dict) -> None:
        """Counts one recording."""
        self.counts[row["machine"]]["train" if row["split"] == "train" else row["condition"]] += 1
        if row["session"] is not None and row["session"] not in self.sessions[row["machine"]]:
            self.sessions[row["machine"]].append(row["session"])

    def add_words(self, words: Iterable[tuple[str, str]]) -> None:
        """Adds names with their meaning."""
        for name, meaning in words:
            if name not in self.words[meaning]:
                self.words[meaning].append(name)

    def ignored_line(self) -> str | None:
        """What was left out, in one line; `None` where that is nothing."""
        return f"ignored: {'; '.join(describe_ignored(self.ignored))}" if self.ignored else None

    def lines(self) -> list[str]:
        """A line for each machine, for the words that led there, for what was assumed, and for what was left out."""
        total = sum(counts.total() for counts in self.counts.values())
        lines = [f"{self.name}: {count(total, 'recording')} of {count(len(self.counts), 'machine')}"]
        machines = sorted(self.counts)
        lines += [f"  {printable(machine)}: {self._counted(machine)}" for machine in machines[:MAX_MACHINES]]
        if len(machines) > MAX_MACHINES:
            lines.append(f"  and {len(machines) - MAX_MACHINES} more machines: {_some(machines[MAX_MACHINES:])}")
        words = [
            meaning if names == [meaning] else f"{meaning}: {_some(names)}" for meaning, names in self.words.items()
        ]
        if not {"normal", "anomaly", "unknown"} & set(self.words):
            words.append("none says normal or anomaly, so that all but test recordings count as normal")
        lines.append(f"  words: {'; '.join(words)}")
        lines += [f"  {note}" for note in self.notes[:2]]
        ignored = self.ignored_line()
        return lines + ([f"  {ignored}"] if ignored else [])

    def _counted(self, machine: str) -> str:
        counts = self.counts[machine]
        anomalies = "anomaly" if counts["anomaly"] == 1 else "anomalies"
        test = {"normal": "normal", "anomaly": anomalies, "unknown": "of unknown condition"}
        tested = [f"{counts[condition]} {text}" for condition, text in test.items() if counts[condition]]
        text = f"{count(counts['train'], 'normal recording')} to learn from"
        if tested:
            text += f"; test: {', '.join(tested)}"
        sessions = self.sessions[machine]
        if sessions:
            source = f" {self.session_sources[machine]}" if machine in self.session_sources else ""
            text += f"; {count(len(sessions), 'session')}{source} ({_some(sessions)})"
        return text


def count(number: int, noun: str) -> str:
    """`"1 recording"`, `"2 recordings"`, `"2 anomalies"`, `"2 days"`."""
    several = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    return f"{number} {noun if number == 1 else several}"


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:MAX_WORDS])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > MAX_WORDS else shown
