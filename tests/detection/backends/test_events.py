import numpy as np
import pytest
import torch

from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.backends.events import WithEvents
from hf_asd.detection.backends.gaussian import ConditionalDeviations, Mahalanobis
from hf_asd.detection.backends.standardized import MaxEvent
from hf_asd.detection.config import DetectorConfig, ScoringConfig
from hf_asd.detection.score_tail import ScoreTail
from hf_asd.detection.threshold import threshold_from
from hf_asd.embedding.band_statistics import EVENTS_SIZE, SPECTRUM_SIZE, STATISTICS_SIZE


CONFIG = DetectorConfig(statistics="band_statistics")


def statistics(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.randn(rows, SPECTRUM_SIZE, generator=generator)
    events = 4 - torch.rand(rows, EVENTS_SIZE, generator=generator).log()
    return torch.cat([spectrum, events], dim=1)


def test_the_largest_event_matches_the_plain_formula():
    bank, queries = statistics(9)[:, SPECTRUM_SIZE:], statistics(3, seed=1)[:, SPECTRUM_SIZE:]
    backend = MaxEvent(bank)
    normal = bank.double().numpy()
    for row, query in enumerate(queries.double().numpy()):
        expected = ((query - normal.mean(0)) / (normal.std(0, ddof=1) + 3)).max()
        assert backend.score(queries)[row].item() == pytest.approx(expected, rel=1e-5)
    for row in range(9):
        others = np.delete(normal, row, axis=0)
        expected = ((normal[row] - others.mean(0)) / (others.std(0, ddof=1) + 3)).max()
        assert backend.leave_one_out()[row].item() == pytest.approx(expected, rel=1e-5)


def test_events_have_their_share_of_the_rate():
    bank = statistics(40)
    scorer = make_scorer({"source": bank}, CONFIG)
    assert isinstance(scorer, WithEvents)
    config = ScoringConfig()
    rest = make_scorer({"source": bank[:, :SPECTRUM_SIZE]}, config)
    assert [type(part) for part in rest.parts] == [ConditionalDeviations, Mahalanobis]
    torch.testing.assert_close(scorer.leave_one_out_scores, rest.leave_one_out())
    events = MaxEvent(bank[:, SPECTRUM_SIZE:])
    ones = np.ones(40)
    own = ScoreTail(events.leave_one_out().numpy(), ones, robust=False, most=12).score(0.2 * 0.05)
    expected, _ = threshold_from(rest.leave_one_out().numpy(), 0.8 * 0.05)
    assert float(scorer._on_scale(torch.tensor(own))) == pytest.approx(expected)
    # Above the threshold the logarithm counts, in the scale of the score's tail.
    louder = own + 6 * scorer.event_scale
    assert float(scorer._on_scale(torch.tensor(louder))) == pytest.approx(expected + scorer.score_scale * np.log(7))


def test_a_knock_raises_the_alarm_and_events_add_no_false_alarms():
    bank, fresh = statistics(60), statistics(2000, seed=1)
    shares = {}
    for event_share in (0, 0.2):
        config = DetectorConfig(statistics="band_statistics", event_share=event_share)
        scorer = make_scorer({"source": bank}, config)
        threshold, _ = threshold_from(scorer.leave_one_out().numpy(), 0.05)
        knocked = fresh.clone()
        knocked[:, SPECTRUM_SIZE + 3] += 25
        shares[event_share] = [(scorer.score(clips) > threshold).double().mean() for clips in (fresh, knocked)]
    assert shares[0][0] == shares[0][1]  # without events a knock is not heard
    assert shares[0.2][1] > 0.95 and shares[0.2][0] < max(0.06, shares[0][0] + 0.01)


def test_an_event_among_the_normal_clips_does_not_hide_faults():
    bank = statistics(30)
    bank[3, SPECTRUM_SIZE + 5] += 60  # somebody dropped a wrench
    fault = statistics(20, seed=1)
    fault[:, 50] += 12
    scorer = make_scorer({"source": bank}, CONFIG)
    threshold, _ = threshold_from(scorer.leave_one_out().numpy(), 0.05)
    assert (scorer.score(fault) > threshold).all()


def test_embeddings_without_statistics_have_no_events():
    bank = statistics(12)[:, :9]
    assert not isinstance(make_scorer({"source": bank}, ScoringConfig()), WithEvents)
    with pytest.raises(ValueError, match="an embedding has 9 values, but band statistics are 296"):
        make_scorer({"source": bank}, CONFIG)
    beside = torch.cat([statistics(12), statistics(12)[:, :5]], dim=1)
    scorer = make_scorer({"source": beside}, ScoringConfig(with_statistics=True))
    assert isinstance(scorer, WithEvents) and beside.shape[1] == STATISTICS_SIZE + 5
