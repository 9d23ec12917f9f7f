"""What `fit` keeps of each normal clip while it is decoded, so that no recording is decoded twice."""

from accelerate.utils import gather_object
from datasets import Dataset

from ..audio.reading import DecodedClip
from ..embedding.embed import Visit
from .explanation.normal_profile import NormalProfile, choose_profile_rows, make_profiles, summarize_clip
from .training_summary import RecordingFacts


class TrainingClips:
    """
    Called with each decoded clip; collects the facts for the card and the summaries for the profiles.

    Args:
        rows (`datasets.Dataset`): the normal clips.
        with_profiles (`bool`): whether profiles are wanted.
        visit (`Callable`, *optional*): called with each clip as well.
    """

    def __init__(self, rows: Dataset, with_profiles: bool, visit: Visit | None):
        self.chosen = choose_profile_rows(rows) if with_profiles else {}
        self._wanted = {row for own in self.chosen.values() for row in own.tolist()}
        self._visit = visit
        self._facts: dict[int, RecordingFacts] = {}
        self._summaries: dict[int, dict] = {}

    def __call__(self, row: int, clip: DecodedClip) -> None:
        self._facts[row] = RecordingFacts(clip.seconds, clip.sampling_rate, clip.channels)
        if row in self._wanted:
            self._summaries[row] = summarize_clip(clip)
        if self._visit is not None:
            self._visit(row, clip)

    def facts(self, row_numbers: list[int]) -> dict[int, RecordingFacts]:
        """Facts of all processes, by the place of their row in `row_numbers`."""
        facts = dict(gather_object(list(self._facts.items())))
        return {place: facts[row] for place, row in enumerate(row_numbers)}

    def profiles(self) -> dict[str, NormalProfile]:
        """By machine, of the clips of all processes."""
        return make_profiles(self.chosen, dict(gather_object(list(self._summaries.items()))))
