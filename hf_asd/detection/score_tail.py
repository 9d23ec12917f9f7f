"""How improbable high scores are for a normal clip, also beyond what the normal clips reached."""

import numpy as np


# The highest scores whose excess is taken for exponential: this share, and at most so many. Fewer still count as
# excesses: tails are a little heavier than exponential, which more clips do not show. Chosen on thirty simulated
# machines and three real ones for 5 % and 1 % of false alarms.
TAIL_SHARE, TAIL_CLIPS, TAIL_COUNT = 2 / 3, 25, 8
OUTLIER_RATE = 0.05


class ScoreTail:
    """
    p-values of scores from the leave-one-out scores of the normal clips.

    In the lowest third of the normal scores (with more than 37 of them: in all but the 25 highest) p-values are
    conformal; above it the excess is taken for exponential. The p-value of an excess `y` is then `(1 + y / s) ** -k`
    times that of where the tail begins, with `s` the sum of the `k` excesses of normal clips: it holds on average over
    installations, the uncertainty of the fitted scale included (an excess over their mean follows an F distribution).
    No more than `most` excesses count (`s` is then so many times their mean), so that more clips never make the tail
    lighter than that.

    One unusual recording among the normal ones does not set the scale alone: excesses are cut at the value that the
    largest of `k` exponential ones exceeds once in twenty times, by a scale from their median.

    Args:
        normal_scores (`np.ndarray` of shape `(references,)`): leave-one-out scores of the normal clips.
        weights (`np.ndarray` of shape `(references,)`): of [`~hf_asd.detection.threshold.recording_weights`].
        robust (`bool`, *optional*, defaults to `True`): whether excesses are cut.
        most (`int`, *optional*, defaults to 8): excesses that count.

    Attributes:
        start (`float`): the score at which the tail begins.
        scale (`float`): mean excess in the tail.
    """

    def __init__(self, normal_scores: np.ndarray, weights: np.ndarray, robust: bool = True, most: int = TAIL_COUNT):
        order = np.argsort(normal_scores)
        scores, weights = normal_scores[order].astype(np.float64), weights[order]
        limit = min(TAIL_SHARE * weights.sum(), TAIL_CLIPS)
        in_tail = int((np.cumsum(weights[::-1]) <= limit + 1e-9).sum())
        in_tail = max(1, min(in_tail, len(scores) - 1))
        self.start = float(scores[-in_tail - 1])
        tail = scores > self.start
        self.count = min(max(1, int(tail.sum())), most)
        excess = scores[tail] - self.start
        if robust and len(excess):
            excess = np.minimum(excess, _largest_usual(excess))
        self.scale = max(float(np.average(excess, weights=weights[tail])) if len(excess) else 0.0, 1e-9)
        above = weights.sum() - np.cumsum(weights)
        # Of equal scores the last one has the weight above all of them.
        last = np.append(scores[:-1] != scores[1:], True) & ~tail
        self.body_scores = scores[last]
        self.body_logs = np.log((1 + above[last]) / (1 + weights.sum()))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """p-values of scores, both of shape `(clips,)`, float64; from the lowest normal score on they fall."""
        body = np.interp(scores, self.body_scores, self.body_logs)
        excess = np.maximum(scores - self.start, 0) / (self.count * self.scale)
        tail = self.body_logs[-1] - self.count * np.log1p(excess)
        return np.exp(np.where(scores > self.start, tail, body))

    def score(self, p_value: float) -> float:
        """The score with a p-value; the lowest normal score for larger ones than it has."""
        log = np.log(p_value)
        if log >= self.body_logs[-1]:
            return float(np.interp(-log, -self.body_logs, self.body_scores))
        return self.start + self.count * self.scale * float(np.expm1((self.body_logs[-1] - log) / self.count))


def _largest_usual(excess: np.ndarray) -> float:
    """What the largest of these, were they exponential, exceeds once in twenty times."""
    return float(np.median(excess)) / np.log(2) * np.log(len(excess) / OUTLIER_RATE)
