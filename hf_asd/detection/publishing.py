"""Publishing a detector's folder, after it was loaded once."""

from pathlib import Path

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
