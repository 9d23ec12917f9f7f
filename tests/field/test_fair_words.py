"""A recording below the threshold is told how far below it is."""

import numpy as np
import pytest
import torch

from hf_asd.cli.columns import table_lines
from hf_asd.detection.config import ScoringConfig
from hf_asd.detection.decision import make_decisions
from hf_asd.detection.explanation.reasons import InputFindings
from hf_asd.detection.explanation.words import Reason
from hf_asd.detection.memory_bank import MemoryBank
from hf_asd.detection.threshold import threshold_from, unusual_threshold


TONE = Reason("tone", "new tone near 66 Hz, 9 dB above normal", 1.4, 65.0, 67.0)


class ScoresAsGiven:
    """A scorer whose scores are the first value of an embedding."""

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        return queries[:, 0].double()


def bank_of(scores: list[float], threshold: float, rate: float = 0.05) -> MemoryBank:
    names = [f"{number}.wav" for number in range(len(scores))]
    vectors = torch.arange(len(scores), dtype=torch.float32)[:, None].repeat(1, 4)
    bank = MemoryBank({"source": vectors}, {"source": names}, np.array(scores), threshold, rate, ScoringConfig())
    bank.scorer = ScoresAsGiven()
    return bank


def decide(bank: MemoryBank, scores: list[float]):
    found = InputFindings(None, [TONE])
    embeddings = torch.tensor(scores)[:, None].repeat(1, 4)
    return make_decisions("fan", bank, embeddings, [found] * len(scores))


def table(decisions) -> str:
    return "\n".join(table_lines([{"file": "a.wav", **decision.to_dict()} for decision in decisions], explain=True))


def test_how_many_normal_clips_score_as_high():
    bank = bank_of([float(score) for score in range(20)], threshold=30.0)
    decisions = decide(bank, [-1.0, 0.0, 12.0, 12.5, 19.0, 25.0])
    assert [decision.num_normal_as_high for decision in decisions] == [20, 20, 8, 7, 1, 0]
    assert {decision.num_normal_clips for decision in decisions} == {20}


def test_a_clip_above_95_percent_of_the_normal_ones_is_never_called_usual():
    for count in (4, 10, 20, 35, 200):
        scores = np.random.default_rng(count).gamma(2.0, size=count)
        for rate in (0.001, 0.01, 0.05):
            threshold, promised = threshold_from(scores, rate)
            bank = bank_of(scores.tolist(), threshold, promised)
            clips = np.linspace(0, 2 * threshold, 400).tolist()
            for score, decision in zip(clips, decide(bank, clips), strict=True):
                if np.mean(scores < np.float32(score)) > 0.95:
                    assert decision.is_anomaly or decision.is_unusual


def test_unusual_lies_between_the_thresholds_for_twice_the_rate_and_for_the_rate():
    scores = np.random.default_rng(0).gamma(2.0, size=200)
    threshold, double = threshold_from(scores, 0.05)[0], threshold_from(scores, 0.1)[0]
    bank = bank_of(scores.tolist(), threshold)
    assert bank.unusual_threshold == pytest.approx(double)
    below, between, above = decide(bank, [0.99 * double, (double + threshold) / 2, 1.01 * threshold])
    assert (below.is_anomaly, below.is_unusual) == (False, False)
    assert (between.is_anomaly, between.is_unusual) == (False, True)
    assert (above.is_anomaly, above.is_unusual) == (True, False)


@pytest.mark.parametrize("method", ["tail", "conformal", "quantile", "gamma"])
def test_unusual_is_below_the_threshold_for_every_method(method):
    scores = np.random.default_rng(1).gamma(3.0, size=100)
    double = unusual_threshold(scores, 0.05, method, np.ones(100))
    assert np.quantile(scores, 0.8) < double < threshold_from(scores, 0.05, method)[0]
    # Twice a rate of 60 % is none.
    assert unusual_threshold(scores, 0.6, method, np.ones(100)) == np.sort(scores)[94]


def test_the_words():
    bank = bank_of([float(score) for score in range(40)], threshold=45.0)
    normal, unusual, alarm = decide(bank, [20.0, 39.0, 50.0])
    assert "nothing unusual: 20 of 40 normal recordings score as high" in table([normal])
    assert "  normal\n" in table([normal]) and TONE.text not in table([normal])
    text = table([unusual])
    assert "  normal (unusual)\n" in text
    assert "unusual, not enough for an alarm: 1 of 40 normal recordings scores as high" in text
    assert TONE.text in text  # what is unusual about it
    above = decide(bank, [44.0])
    assert "unusual, not enough for an alarm: none of 40 normal recordings score as high" in table(above)
    assert "  ANOMALY\n" in table([alarm]) and "unusual" not in table([alarm])
    assert max(map(len, text.splitlines())) < 100
