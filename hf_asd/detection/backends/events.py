"""A score with a second detector beside it, of short events, which has its own share of the false-alarm rate."""

import numpy as np
import torch

from ..config import ScoringConfig
from ..score_tail import ScoreTail
from ..threshold import threshold_from
from .protocol import Scorer


MOST_EXCESSES = 12  # that count for the tail of events


class WithEvents:
    """
    A score that short events can raise.

    A knock that fills a hundredth of a recording changes no statistic over time. Events have a score of their own,
    shifted and scaled so that its threshold for a share of the accepted false-alarm rate (`event_share`) lies where
    the threshold of the score for the rest of the rate lies; the higher of both counts. Above its threshold the
    logarithm of an event's excess counts: a single loud knock, which may come from beside the machine, is unusual, but
    does not outrank every fault, and one among the normal recordings lifts the threshold little.

    Args:
        scorer ([`Scorer`]): the score.
        events ([`Scorer`]): the score of events, over the same clips in the same order.
        config ([`ScoringConfig`]): `false_alarm_rate` and `event_share` are read from it.
        weights (`np.ndarray` of shape `(references,)`, *optional*): how much each of the leave-one-out scores counts;
            by default all the same.
    """

    def __init__(self, scorer: Scorer, events: Scorer, config: ScoringConfig, weights: np.ndarray | None = None):
        self.scorer, self.events = scorer, events
        self.leave_one_out_scores, left_out_events = scorer.leave_one_out(), events.leave_one_out()
        weights = np.ones(len(left_out_events)) if weights is None else weights
        normal_scores = self.leave_one_out_scores.cpu().numpy()
        # An unusual event among the normal clips does raise the threshold of events.
        tail = ScoreTail(left_out_events.cpu().numpy(), weights, robust=False, most=MOST_EXCESSES)
        rate, share = config.false_alarm_rate, config.event_share
        self.score_threshold, _ = threshold_from(normal_scores, (1 - share) * rate, "tail", weights)
        self.score_scale = ScoreTail(normal_scores, weights).scale
        self.event_threshold, self.event_scale = tail.score(share * rate), tail.scale
        self.left_out_events = self._on_scale(left_out_events)

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        """Anomaly scores of clips that are not in the bank, of shape `(clips,)`, float64."""
        return torch.maximum(self.scorer.score(queries), self._on_scale(self.events.score(queries)))

    def leave_one_out(self) -> torch.Tensor:
        """The score of each clip of the bank by the others, of shape `(references,)`, float64."""
        return torch.maximum(self.leave_one_out_scores, self.left_out_events)

    def _on_scale(self, scores: torch.Tensor) -> torch.Tensor:
        excess = (scores - self.event_threshold) / self.event_scale
        return self.score_threshold + self.score_scale * torch.where(excess > 0, excess.clamp_min(0).log1p(), excess)
