"""The records of a finished run, found from the folder of its scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import read_json


@dataclass(frozen=True)
class ScoredRun:
    """
    The stages that scores follow from.

    Args:
        folders (`dict[str, Path]`): stage -> its folder.
        records (`dict[str, dict]`): stage -> content of its `stage.json`.
    """

    folders: dict[str, Path]
    records: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: str | Path) -> "ScoredRun":
        """
        Args:
            folder (`str` or `Path`): `<output_dir>/score-<fingerprint>` of a recipe.

        Raises:
            FileNotFoundError: the folder, or one of a stage before it, holds no record of a finished stage.
            ValueError: the folder is that of another stage.
        """
        folder = Path(folder)
        folders, records, waiting = {}, {}, [folder]
        while waiting:
            current = waiting.pop()
            if not (current / "stage.json").is_file():
                raise FileNotFoundError(
                    f"{current}: holds no stage.json of a finished stage. Give the folder score-* of a finished run, "
                    "for instance runs/dcase2025/score-0a1b2c3d, with the folders of the other stages beside it."
                )
            record = read_json(current / "stage.json")
            folders[record["stage"]], records[record["stage"]] = current, record
            waiting += [current.parent / name for key, name in record.items() if key.startswith("upstream ")]
        if folders.get("score") != folder:
            stage = next(stage for stage, found in folders.items() if found == folder)
            raise ValueError(f"{folder}: is of the stage {stage}; give the folder of the scores, score-* beside it.")
        return cls(folders, records)

    def options(self, stage: str) -> dict[str, Any]:
        """The options of a stage, as the recipe gave them, with all defaults."""
        return self.records[stage]["options"]

    @property
    def data(self) -> dict[str, Any]:
        """The section `data` of the recipe, also where a factory was simulated."""
        return self.records["data"].get("data") or self.options("data")

    @property
    def trained(self) -> tuple[str, ...]:
        """The stages of training that were not skipped."""
        skipped = self.records["fit"].get("skip", [])
        return tuple(stage for stage in ("pretrain", "finetune") if stage not in skipped)
