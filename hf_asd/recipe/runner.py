"""Runs the stages of a recipe in their order, each in a folder of its own that a later run finds again."""

import hashlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

from ..data.dcase.attributes import load_attribute_truth
from ..distributed import broadcast, hardware, partial_state
from ..files import write_json
from .checking import check_recipe
from .config import STAGE_NAMES, Recipe, StageName
from .sources import hash_sources
from .stages import STAGES


logger = logging.getLogger(__name__)


def run_recipe(recipe: Recipe, until: StageName = "report") -> dict[str, Path]:
    """
    Checks a recipe as a whole, then runs its stages, and of those only what changed: a stage runs again when its
    section, its data, the code that it uses, or a stage that it builds on differs. Nothing is deleted.

    Args:
        recipe ([`Recipe`]): all sections.
        until (`str`, *optional*, defaults to `"report"`): the last stage to run.

    Returns:
        `dict[str, Path]`: by stage the folder of its results, `<output_dir>/<stage>-<fingerprint>`.

    Raises:
        ValueError: there is no such stage, or the recipe does not fit its encoder (see
            [`~hf_asd.recipe.checking.check_recipe`]).
        BadAudioError: recordings cannot be used and `data.on_bad_audio` is `"error"`.
    """
    if until not in STAGE_NAMES:
        raise ValueError(f"until is {until!r}; accepted are {', '.join(STAGE_NAMES)}.")
    check_recipe(recipe)
    folders: dict[str, Path] = {}
    for stage in STAGE_NAMES[: STAGE_NAMES.index(until) + 1]:
        made_from = _made_from(recipe, stage, folders)
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()
        folder = Path(recipe.output_dir) / f"{stage}-{digest[:8]}"
        if broadcast((folder / "stage.json").is_file()):
            if partial_state().is_main_process:
                logger.info("%s: reused (%s)", stage, folder)
        else:
            _run_stage(recipe, stage, folder, folders, made_from)
        folders[stage] = folder
    return folders


def _run_stage(recipe: Recipe, stage: StageName, folder: Path, folders: dict[str, Path], made_from: dict) -> None:
    """Runs one stage; its `stage.json` is written last, so that a folder without it is not finished."""
    state, resumed, started = partial_state(), folder.is_dir(), time.monotonic()
    state.wait_for_everyone()
    if state.is_main_process:
        logger.info("%s: %s (%s)", stage, "resumed" if resumed else "started", folder)
        folder.mkdir(parents=True, exist_ok=True)
    state.wait_for_everyone()
    if STAGES[stage].is_distributed or state.is_main_process:
        STAGES[stage].run(recipe, folder, folders)
    if state.is_main_process:
        seconds = round(time.monotonic() - started, 1)
        record = made_from | {"seconds": seconds, "device": hardware(), "resumed": resumed}
        write_json(folder / "stage.json", json.loads(json.dumps(record, default=str)))
    state.wait_for_everyone()


def _made_from(recipe: Recipe, stage: StageName, folders: dict[str, Path]) -> dict:
    """Everything that a stage's result follows from; its hash names the stage's folder."""
    # The hash of the code, not the version of the package: an edit changes results without changing the version.
    code = hash_sources(STAGES[stage].run, STAGES[stage].sources)
    upstream = {f"upstream {name}": folders[name].name for name in STAGES[stage].upstream}
    return {"stage": stage, "code": code, **_options(recipe, stage), **upstream}


def _options(recipe: Recipe, stage: StageName) -> dict:
    """What the recipe says about a stage, and the content of files that it names."""
    if stage == "data":
        return _data_options(recipe)
    options = {"options": asdict(getattr(recipe, stage)), "channel": recipe.data.channel}
    if stage in recipe.skip or (stage == "fit" and recipe.skip):
        options["skip"] = list(recipe.skip)
    if stage == "pretrain":
        options["files"] = [_listing(source.path) for source in recipe.pretrain.datasets]
    if stage == "cluster" and recipe.cluster.names_file is not None:
        options["names"] = Path(recipe.cluster.names_file).read_text(encoding="utf-8-sig")
    if stage == "cluster" and recipe.cluster.labels_file is not None:
        options["labels"] = Path(recipe.cluster.labels_file).read_text(encoding="utf-8")
    if stage == "evaluate" and recipe.evaluate.attributes_file is not None:
        options["attributes"] = load_attribute_truth(recipe.evaluate.attributes_file)
    return options


def _data_options(recipe: Recipe) -> dict:
    if recipe.factory is not None:
        options = {
            "options": asdict(recipe.factory) | {"num_workers": None},
            "data": asdict(recipe.data),
        }
    else:
        assert recipe.data.path is not None  # the recipe has checked it
        options = {"options": asdict(recipe.data), "files": _listing(recipe.data.path)}
    if recipe.attributes_file is not None:
        options["attributes"] = load_attribute_truth(recipe.attributes_file)
    return options


def _listing(folder: str) -> str:
    """A hash of the names, sizes and times of all files in a folder."""
    root = Path(folder)
    files = sorted(file for file in root.rglob("*") if file.is_file())
    listing = [(file.relative_to(root).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
