"""What one app offers, and to whom."""

from dataclasses import dataclass, field

from ..detection.detector import AnomalyDetector
from .config import MAX_FILES, MAX_UPLOAD_MB
from .normal_recordings import NormalRecordings


@dataclass(frozen=True)
class AppSettings:
    """
    Args:
        detector ([`~hf_asd.AnomalyDetector`], *optional*): the one to try; `None`: one has to be learned first.
        normal ([`NormalRecordings`]): the recordings that it learned from, where they are at hand.
        reads_folders (`bool`): whether folders of the computer that the app runs on can be named. Only where nobody
            else can reach the page.
        learns (`bool`): whether there is the page that learns a machine.
        in_space (`bool`): whether it runs as a Space on the Hub.
        max_upload_mb (`int`): largest size of a file that is dropped, in MB (2**20 bytes).
        max_files (`int`): how many recordings are dropped or checked at a time.
    """

    detector: AnomalyDetector | None
    normal: NormalRecordings = field(default_factory=NormalRecordings)
    reads_folders: bool = True
    learns: bool = True
    in_space: bool = False
    max_upload_mb: int = MAX_UPLOAD_MB
    max_files: int = MAX_FILES
