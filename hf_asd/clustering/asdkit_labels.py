"""The label file of ASDKit (TakuyaFujimura/dcase-asd-toolkit): a class for each clip, to compare both tools."""

import json
from pathlib import Path

from datasets import Dataset

from ..data.dcase.names import make_clip_id
from ..files import write_json


PATHS = "path2idx_dict"  # <data set>/raw/<machine>/<split>/<file> -> class
NAME = "label={}"


def write_asdkit_labels(dataset: Dataset, path: str | Path, year: int) -> Path:
    """
    Writes the classes of training clips: the machine with its attributes or pseudo-attribute.

    Args:
        dataset (`datasets.Dataset`): training clips with `clip_id`, `machine`, `attribute_label` and
            `pseudo_attribute`.
        path (`str` or `Path`): the file.
        year (`int`): the challenge year.

    Returns:
        `Path`: the file.
    """
    names = ("clip_id", "machine", "attribute_label", "pseudo_attribute")
    rows = list(zip(*(dataset[name][:] for name in names), strict=True))
    classes = [f"{machine}: {known if known is not None else pseudo}" for _, machine, known, pseudo in rows]
    number = {name: index for index, name in enumerate(sorted(set(classes)))}
    labels = {f"dcase{year}/raw/{row[0]}.wav": number[name] for row, name in zip(rows, classes, strict=True)}
    content = {"num_class": len(number), "num_class_train": len(number), "num_class_test": 0, PATHS: labels}
    write_json(Path(path), content)
    return Path(path)


def read_asdkit_labels(path: str | Path) -> dict[str, str]:
    """
    Reads the classes of clips.

    Args:
        path (`str` or `Path`): the file.

    Returns:
        `dict[str, str]`: `clip_id` -> name of the class, such as `"label=12"`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a label file of ASDKit.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        paths = content[PATHS].items()
        return {make_clip_id(*name.split("/")[-3:]): NAME.format(int(label)) for name, label in sorted(paths)}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: is not a label file of ASDKit; accepted is JSON with {PATHS!r}, which gives a number to each "
            f"<data set>/raw/<machine>/<split>/<file>.wav. ({error})"
        ) from error
