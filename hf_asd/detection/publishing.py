"""Publishing detectors' folders, after each was loaded once."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..hub.collections import add_to_collection
from ..hub.model_card import push_detector_folder
from .detector import AnomalyDetector


def push_detector(folder: str | Path, repo_id: str, **options) -> str:
    """
    Publishes a detector's folder, with its card, in one commit. It is loaded first: a detector that does not load is
    not published.

    Args:
        folder (`str` or `Path`): where [`~hf_asd.AnomalyDetector.save_pretrained`] wrote the detector.
        repo_id (`str`), options: as for [`~hf_asd.hub.model_card.push_detector_folder`].

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses or cannot be reached, or the repository holds something else.
        FileNotFoundError, ValueError: the folder holds no complete detector.
    """
    AnomalyDetector.from_pretrained(Path(folder).resolve())
    return push_detector_folder(folder, repo_id, **options)


def push_detectors(
    folders: Sequence[str | Path], repo_id: str, *, collection: str | None = None, private: bool = True, **options
) -> tuple[list[str], str | None]:
    """
    Publishes one detector, or several with a collection that holds them. All of them are loaded first.

    Args:
        folders (`Sequence[str | Path]`): where detectors were saved.
        repo_id (`str`): `"ORG/NAME"`: of one detector. Of several, each goes to `ORG/NAME-FOLDER`.
        collection (`str`, *optional*): title of a collection to put them into; made if there is none of this title. By
            default several detectors go into the collection `NAME`.
        private (`bool`, *optional*, defaults to `True`): whether repositories and a collection that are created now
            are visible only to you.
        options: further ones of [`~hf_asd.hub.model_card.push_detector_folder`].

    Returns:
        `tuple[list[str], str | None]`: full ids of the repositories, and the address of the collection.

    Raises:
        HubError: the Hub refuses or cannot be reached, or a repository holds something else.
        FileNotFoundError, ValueError: a folder holds no complete detector, or two have the same name.
    """
    names = {str(folder): repo_id for folder in folders}
    if len(folders) > 1:
        names = {str(folder): f"{repo_id}-{_slug(Path(folder).resolve().name)}" for folder in folders}
        if len(set(names.values())) < len(folders):
            raise ValueError(
                f"the folders {', '.join(map(str, folders))} would go to the same repository; rename one."
            )
        for folder in folders:
            AnomalyDetector.from_pretrained(Path(folder).resolve())
        collection = collection or repo_id.split("/")[-1]
    pushed = [push_detector(folder, name, private=private, **options) for folder, name in names.items()]
    if collection is None:
        return pushed, None
    return pushed, add_to_collection(collection, pushed, private=private, token=options.get("token"))


def _slug(name: str) -> str:
    """A folder's name as a part of an id on the Hub."""
    return re.sub(r"[^A-Za-z0-9._-]+|--+|\.\.+", "-", name).strip("-.") or "detector"
