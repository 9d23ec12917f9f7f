import numpy as np
import pytest
import torch

from hf_asd.detection.deviations import StandardisedDeviations
from hf_asd.detection.neighbours import NearestNeighbours, cosine_distances
from hf_asd.detection.threshold import p_values, threshold_from


def embeddings(rows, dimensions=6, seed=0):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed))


def slow_density_score(query, bank, num_neighbours, density_neighbours):
    def distance(a, b):
        return 1 - float(torch.dot(a, b) / (a.norm() * b.norm()))

    scores = []
    for i, reference in enumerate(bank):
        others = sorted(distance(reference, other) for j, other in enumerate(bank) if j != i)[:density_neighbours]
        density = sum(others) / len(others) if others else 1.0
        scores.append(distance(query, reference) / density)
    return np.mean(sorted(scores)[:num_neighbours]), int(np.argmin(scores))


@pytest.mark.parametrize(("num_neighbours", "density_neighbours"), [(1, 0), (1, 4), (3, 2), (1, 50)])
def test_neighbours_match_the_plain_formula(num_neighbours, density_neighbours):
    bank, queries = embeddings(12), embeddings(5, seed=1)
    scores, nearest = NearestNeighbours(bank, num_neighbours, density_neighbours).score(queries)
    for query, score, row in zip(queries, scores, nearest, strict=True):
        expected, expected_row = slow_density_score(query, bank, num_neighbours, density_neighbours)
        assert score.item() == pytest.approx(expected, rel=1e-4) and row.item() == expected_row


@pytest.mark.parametrize("rows", [2, 3, 5, 12])
@pytest.mark.parametrize("density_neighbours", [0, 1, 2, 4, 11, 50])
def test_leave_one_out_equals_a_bank_built_without_the_clip(rows, density_neighbours):
    bank = embeddings(rows)
    left_out = NearestNeighbours(bank, 1, density_neighbours).leave_one_out()
    for row in range(rows):
        others = torch.cat([bank[:row], bank[row + 1 :]])
        expected = NearestNeighbours(others, 1, density_neighbours).score(bank[row : row + 1])[0]
        torch.testing.assert_close(left_out[row : row + 1], expected, rtol=1e-4, atol=1e-6)


def test_degenerate_banks_of_neighbours():
    single = NearestNeighbours(embeddings(1))
    torch.testing.assert_close(
        single.score(embeddings(2, seed=1))[0], cosine_distances(embeddings(2, seed=1), embeddings(1))[:, 0]
    )
    with pytest.raises(ValueError, match="at least 2"):
        single.leave_one_out()
    same = NearestNeighbours(embeddings(1).repeat(5, 1))
    assert torch.isfinite(same.leave_one_out()).all()
    assert same.score(embeddings(3, seed=1))[0].min() > same.leave_one_out().max()


def test_deviations_match_the_plain_formula():
    bank, query = embeddings(8).double().numpy(), embeddings(1, seed=1).double().numpy()[0]

    def parts(clip, references):
        spread = references.std(0, ddof=1)
        spread = spread + 0.25 * spread.mean()
        largest = np.abs((clip - references.mean(0)) / spread).max()
        return np.array([largest, min(np.linalg.norm((clip - r) / spread) for r in references)])

    left_out = np.stack([parts(bank[i], np.delete(bank, i, 0)) for i in range(len(bank))])
    location, scale = left_out.mean(0), left_out.std(0, ddof=1)
    backend = StandardisedDeviations(torch.from_numpy(bank).float())
    np.testing.assert_allclose(backend.leave_one_out(), ((left_out - location) / scale).sum(1), rtol=1e-4, atol=1e-4)
    expected = ((parts(query, bank) - location) / scale).sum()
    assert backend.score(torch.from_numpy(query[None]).float())[0].item() == pytest.approx(expected, rel=1e-4)


def test_deviations_of_degenerate_banks():
    with pytest.raises(ValueError, match="3 normal clips are too few"):
        StandardisedDeviations(embeddings(3))
    same = StandardisedDeviations(embeddings(1).repeat(5, 1))
    assert torch.isfinite(same.leave_one_out()).all()
    assert same.score(embeddings(1, seed=1))[0] > same.leave_one_out().max()


def test_p_values_and_threshold_agree():
    normal = np.random.default_rng(0).standard_normal(99)
    scores = np.random.default_rng(1).standard_normal(1000)
    for rate in (0.01, 0.05, 0.1, 0.5):
        threshold, promised = threshold_from(normal, rate)
        assert promised == rate
        np.testing.assert_array_equal(scores > threshold, p_values(scores, normal) <= rate)
    assert p_values(np.array([np.inf]), normal) == 0.01
    assert p_values(np.array([-np.inf]), normal) == 1


def test_a_rate_that_few_clips_cannot_promise():
    threshold, promised = threshold_from(np.arange(10.0), 0.01)
    assert threshold == 9 and promised == pytest.approx(1 / 11)
    with pytest.raises(ValueError, match="false_alarm_rate is 0"):
        threshold_from(np.arange(10.0), 0)


def test_false_alarms_come_at_the_promised_rate():
    # 2000 installations with 19 normal clips each: on average one fresh clip in ten exceeds the threshold.
    generator = np.random.default_rng(0)
    alarms = [generator.standard_normal() > threshold_from(generator.standard_normal(19), 0.1)[0] for _ in range(2000)]
    assert abs(np.mean(alarms) - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 2000)
