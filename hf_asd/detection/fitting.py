"""What `fit` keeps of each normal clip while it is decoded, so that no recording is decoded twice."""

from accelerate.utils import gather_object
from datasets import Dataset

from ..audio.clock import Span
from ..audio.windows import Window
from ..embedding.embed import EmbeddedRows, Visit
from .explanation.normal_profile import NormalProfile, choose_profile_rows, make_profiles, summarize_clip
from .training_summary import RecordingFacts


WindowKey = tuple[int, Span | None]  # number of a row, and the window of its recording


class TrainingClips:
    """
    Called with each decoded clip or window; collects the facts for the card and the summaries for the profiles.

    Args:
        rows (`datasets.Dataset`): the normal clips.
        with_profiles (`bool`): whether profiles are wanted.
        visit (`Callable`, *optional*): called with each clip as well.
    """

    def __init__(self, rows: Dataset, with_profiles: bool, visit: Visit | None):
        chosen = choose_profile_rows(rows) if with_profiles else {}
        self._wanted = {row for own in chosen.values() for row in own.tolist()}
        self._visit = visit
        self._facts: dict[WindowKey, RecordingFacts] = {}
        self._summaries: dict[WindowKey, dict] = {}

    def __call__(self, row: int, window: Window) -> None:
        clip, key = window.clip, (row, window.span)
        if clip is not None:
            self._facts[key] = RecordingFacts(clip.seconds, clip.sampling_rate, clip.channels)
            if row in self._wanted:
                self._summaries[key] = summarize_clip(clip)
        if self._visit is not None:
            self._visit(row, window)

    def facts(self, embedded: EmbeddedRows) -> dict[int, RecordingFacts]:
        """Facts of all processes, by the place of their clip among the embedded ones."""
        facts = dict(gather_object(list(self._facts.items())))
        return {place: facts[key] for place, key in enumerate(_keys(embedded))}

    def profiles(self, train: Dataset, embedded: EmbeddedRows) -> dict[str, NormalProfile]:
        """By machine, of the clips of all processes; `train` has a row for each that was embedded."""
        summaries = dict(gather_object(list(self._summaries.items())))
        places = [place for place, key in enumerate(_keys(embedded)) if key in summaries]
        if not places:
            return {}
        keys = _keys(embedded)
        # Of a long recording all windows were summarized, which may be more than a profile takes.
        chosen = choose_profile_rows(train.select(places))
        return make_profiles(chosen, {number: summaries[keys[place]] for number, place in enumerate(places)})


def _keys(embedded: EmbeddedRows) -> list[WindowKey]:
    return list(zip(embedded.row_numbers.tolist(), embedded.spans, strict=True))
