"""All that a detector keeps of its normal recordings, so that it can learn again with others beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import cast

import numpy as np
from datasets import Dataset, Features, List, Value, concatenate_datasets
from safetensors.numpy import load_file, save_file

from ..data.schema import read_table, side_by_side, write_table
from ..hub.manifest import CLIPS_FILE, CLIPS_TABLE
from .config import WindowSeconds
from .explanation.input_checks import InputMeasures
from .training_clips.measures import ClipMeasures
from .training_clips.pieces import Ends
from .training_summary import RecordingFacts


TEXTS = (
    *("machine", "domain", "clip_id", "recording_id", "session", "attribute_label", "pseudo_attribute", "added"),
    "silent_channels",
)
FEATURES = Features(
    {name: Value("string") for name in TEXTS} | {"start_s": Value("float64"), "end_s": Value("float64")}
)
# Parts of the summaries for profiles: saved in half precision, which is what a profile is made from.
PROFILE_PARTS = ("tone", "rhythm", "burst", "knock", "dropout", "loudness")


@dataclass(frozen=True)
class HeardClips:
    """
    The normal clips that a detector heard, those included that it left out, in the order in which it learns from them.

    Args:
        rows (`datasets.Dataset`): a row for each clip: `machine`, `domain`, `clip_id`, `recording_id` (the `clip_id`
            of a whole recording), `start_s` and `end_s` of a window, `session`, `attribute_label`, `pseudo_attribute`,
            `silent_channels` and `added` (the day on which it was first learned from).
        arrays (`dict[str, np.ndarray]`): values of each clip: its embedding, and what is compared to find copies, odd
            recordings and reasons. There is no sound among them.
        window_seconds (`float`, `"auto"` or `None`): how long recordings were cut.
    """

    rows: Dataset
    arrays: dict[str, np.ndarray]
    window_seconds: WindowSeconds

    @classmethod
    def of(
        cls,
        rows: Dataset,
        numbers: np.ndarray,
        measures: Sequence[ClipMeasures],
        summaries: Sequence[Mapping[str, np.ndarray]] | None,
        window_seconds: WindowSeconds,
    ) -> "HeardClips":
        """
        Args:
            rows (`datasets.Dataset`): the clips with `embedding`.
            numbers (`np.ndarray` of shape `(clips,)`): of the recordings that they are, or are windows of.
            measures (`Sequence[ClipMeasures]`): of each clip.
            summaries (`Sequence[dict]`, *optional*): of each clip, for profiles.
            window_seconds (`float`, `"auto"` or `None`): how long recordings were cut.
        """
        today = date.today().isoformat()
        content = {name: _column(rows, name) for name in FEATURES}
        content["recording_id"] = [
            name or clip_id for name, clip_id in zip(content["recording_id"], content["clip_id"], strict=True)
        ]
        content["added"] = [day or today for day in content["added"]]
        content["silent_channels"] = [" ".join(map(str, one.silent_channels)) for one in measures]
        arrays = {
            "embedding": np.asarray(rows.with_format("numpy")["embedding"][:]),
            "row": np.asarray(numbers, dtype=np.int64),
        }
        arrays |= _measured(measures)
        if summaries is not None:
            arrays |= {name: np.stack([one[name] for one in summaries]).astype(np.float16) for name in PROFILE_PARTS}
        return cls(Dataset.from_dict(content, features=FEATURES), arrays, window_seconds)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_summaries(self) -> bool:
        """Whether profiles can be made of them."""
        return PROFILE_PARTS[0] in self.arrays

    def dataset(self) -> Dataset:
        """Rows to learn from, with `embedding`."""
        embeddings = self.arrays["embedding"]
        features = Features({"embedding": List(Value("float32"), length=embeddings.shape[1])})
        vectors = Dataset.from_dict({"embedding": embeddings}, features=features)
        normal = Dataset.from_dict({"condition": ["normal"] * len(self)})
        return side_by_side(side_by_side(self.rows, normal), vectors)

    def joined(self, others: "HeardClips") -> "HeardClips":
        """These clips, then others."""
        return self.concatenated([self, others])

    @classmethod
    def concatenated(cls, parts: Sequence["HeardClips"]) -> "HeardClips":
        """The clips of several, one after the other, cut as those of the first."""
        rows, first = [], 0
        for part in parts:
            rows.append(part.arrays["row"] + first)
            first = int(rows[-1].max()) + 1 if len(part) else first
        names = [name for name in parts[0].arrays if all(name in part.arrays for part in parts)]
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in names}
        joined = concatenate_datasets([part.rows for part in parts])
        return cls(joined, arrays | {"row": np.concatenate(rows)}, parts[0].window_seconds)

    def select(self, places: Sequence[int]) -> "HeardClips":
        """Some of the clips."""
        chosen = list(places)
        return replace(
            self,
            rows=Dataset.from_dict(cast(dict, self.rows.select(chosen).to_dict()), features=FEATURES),
            arrays={name: values[chosen] for name, values in self.arrays.items()},
        )

    def sessions_of(self, machine: str) -> list[str]:
        """The sessions of a machine in the order in which they were first heard; `""` for clips of no known one."""
        sessions = zip(self.rows["machine"][:], self.rows["session"][:], strict=True)
        return list(dict.fromkeys(session or "" for name, session in sessions if name == machine))

    def facts(self) -> list[RecordingFacts]:
        """Of each clip, for the card."""
        names = ("seconds", "sampling_rate", "channels")
        return [
            RecordingFacts(*values) for values in zip(*(self.arrays[name].tolist() for name in names), strict=True)
        ]

    def measures(self) -> list[ClipMeasures]:
        """Of each clip, for the checks."""
        a, found, silent = self.arrays, [], self.rows["silent_channels"][:]
        names = ("sampling_rate", "channels", "decibels", "clipped", "gap", "gap_start", "seconds", "has_ends")
        plain = {name: a[name].tolist() for name in names}
        for place in range(len(self)):
            one = {name: values[place] for name, values in plain.items()}
            ends = None
            if one["has_ends"]:
                ends = Ends(a["head"][place], a["last"][place], a["correlation"][place], one["sampling_rate"])
            checked = InputMeasures(
                one["clipped"], one["gap"], one["gap_start"], one["seconds"], a["level"][place], a["spectrum"][place]
            )
            found.append(
                ClipMeasures(
                    sampling_rate=one["sampling_rate"],
                    channels=one["channels"],
                    silent_channels=tuple(map(int, silent[place].split())),
                    decibels=one["decibels"],
                    checked=checked,
                    digest=a["digest"][place].tobytes(),
                    fingerprint=a["fingerprint"][place],
                    ends=ends,
                )
            )
        return found

    def summaries(self, places: Sequence[int]) -> dict[int, dict[str, np.ndarray]]:
        """Of some clips, by their places, for profiles."""
        whole = {name: self.arrays[name] for name in ("level", "spectrum", *PROFILE_PARTS)}
        single = {name: self.arrays[name][:, None] for name in ("clipped", "gap", "seconds")}
        return {place: {name: values[place] for name, values in (whole | single).items()} for place in places}

    def save(self, folder: Path) -> None:
        """Writes them into a folder."""
        write_table(self.rows, folder / CLIPS_TABLE)
        save_file({name: np.ascontiguousarray(values) for name, values in self.arrays.items()}, folder / CLIPS_FILE)

    @classmethod
    def load(cls, folder: Path, window_seconds: WindowSeconds) -> "HeardClips":
        """
        Reads what [`~HeardClips.save`] wrote.

        Raises:
            ValueError: the files do not belong together.
        """
        rows, arrays = read_table(folder / CLIPS_TABLE), load_file(folder / CLIPS_FILE)
        if set(rows.column_names) != set(FEATURES) or any(len(values) != len(rows) for values in arrays.values()):
            raise ValueError(
                f"{folder}: {CLIPS_TABLE} and {CLIPS_FILE} do not belong together. Fit the detector again."
            )
        return cls(rows, arrays, window_seconds)


def _column(rows: Dataset, name: str) -> list:
    return rows[name][:] if name in rows.column_names else [None] * len(rows)


def _measured(measures: Sequence[ClipMeasures]) -> dict[str, np.ndarray]:
    """The values of each clip that checks compare, as arrays of all clips."""
    none = Ends(np.zeros(32), np.zeros(32), np.zeros(33), 0)
    ends = [one.ends or none for one in measures]
    checked = [one.checked for one in measures]
    return {
        "sampling_rate": np.array([one.sampling_rate for one in measures], dtype=np.int64),
        "channels": np.array([one.channels for one in measures], dtype=np.int64),
        "decibels": np.array([one.decibels for one in measures], dtype=np.float64),
        "clipped": np.array([one.clipped for one in checked], dtype=np.float64),
        "gap": np.array([one.gap_seconds for one in checked], dtype=np.float64),
        "gap_start": np.array([one.gap_start for one in checked], dtype=np.float64),
        "seconds": np.array([one.seconds for one in checked], dtype=np.float64),
        "level": np.stack([one.level for one in checked]),
        "spectrum": np.stack([one.spectrum for one in checked]),
        "digest": np.stack([np.frombuffer(one.digest, dtype=np.uint8) for one in measures]),
        "fingerprint": np.stack([one.fingerprint for one in measures]),
        "has_ends": np.array([one.ends is not None for one in measures]),
        "head": np.stack([one.head for one in ends]).astype(np.float64),
        "last": np.stack([one.last for one in ends]).astype(np.float64),
        "correlation": np.stack([one.correlation for one in ends]),
    }
