import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_formulas import distance, normalized_distances, pca_residual

from hf_asd.detection.backends.composite import FusedScorer, MinOverDomains, make_scorer
from hf_asd.detection.backends.cross_scores import cross_scores, extrapolated_scores, recording_splits
from hf_asd.detection.backends.gaussian import ConditionalDeviations, Mahalanobis
from hf_asd.detection.backends.nearest_neighbors import CosineNeighbors, EuclideanNeighbors
from hf_asd.detection.backends.pca import PcaResidual
from hf_asd.detection.backends.references import k_center, k_means, mem_mixup, smote
from hf_asd.detection.backends.standardized import MaxDeviation, StandardizedNeighbors
from hf_asd.detection.config import ScoringConfig
from hf_asd.embedding.band_statistics import SPECTRUM_SIZE, STATISTICS_SIZE


METRICS = {"cosine": CosineNeighbors, "euclidean": EuclideanNeighbors}


def embeddings(rows, dimensions=6, seed=0):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed))


def without(bank, row):
    return torch.cat([bank[:row], bank[row + 1 :]])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("normalization", ["none", "ratio", "difference", "varmin", "log_varmin"])
@pytest.mark.parametrize(("num_neighbors", "density_neighbors"), [(1, 4), (3, 2), (2, 50)])
def test_neighbors_match_the_plain_formula(metric, normalization, num_neighbors, density_neighbors):
    bank, queries = embeddings(12), embeddings(5, seed=1)
    backend = METRICS[metric](bank, num_neighbors, normalization, density_neighbors)
    scores, (_, nearest) = backend.score(queries), backend.nearest(queries, 1)
    for query, score, row in zip(queries, scores, nearest[:, 0], strict=True):
        each = normalized_distances(bank.numpy(), query.numpy(), metric, normalization, density_neighbors)
        assert score.item() == pytest.approx(np.mean(sorted(each)[:num_neighbors]), rel=1e-9, abs=1e-9)
        assert row.item() == int(np.argmin(each))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("rows", [2, 3, 5, 12])
@pytest.mark.parametrize("density_neighbors", [1, 2, 4, 11, 50])
def test_leave_one_out_equals_a_bank_built_without_the_clip(metric, rows, density_neighbors):
    bank = embeddings(rows)
    for normalization in ("none", "ratio", "difference"):
        options = (1, normalization, density_neighbors)
        leave_one_out_scores = METRICS[metric](bank, *options).leave_one_out()
        expected = [METRICS[metric](without(bank, i), *options).score(bank[i : i + 1]) for i in range(rows)]
        torch.testing.assert_close(leave_one_out_scores, torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_search_in_small_chunks_gives_the_same(monkeypatch):
    bank, queries = embeddings(50), embeddings(9, seed=1)
    whole = CosineNeighbors(bank, 3, "ratio")
    expected, leave_one_out_scores = whole.nearest(queries, 3), whole.leave_one_out()
    monkeypatch.setattr("hf_asd.detection.backends.nearest_neighbors.CHUNK_REFERENCES", 7)
    monkeypatch.setattr("hf_asd.detection.backends.nearest_neighbors.CHUNK_ENTRIES", 60)
    cut = CosineNeighbors(bank, 3, "ratio")
    torch.testing.assert_close(cut.nearest(queries, 3), expected)
    torch.testing.assert_close(cut.leave_one_out(), leave_one_out_scores)


def test_embeddings_that_are_nearly_alike_keep_their_digits():
    """Clips 1e-5 apart: one minus a cosine in single precision would be rounding alone."""
    center = 10 * embeddings(1, 64)
    bank, queries = center + 1e-3 * embeddings(30, 64, seed=1), center + 1e-3 * embeddings(4, 64, seed=2)
    scores = CosineNeighbors(bank).score(queries)
    expected = [min(distance(query, reference, "cosine") for reference in bank) for query in queries]
    assert max(expected) < 1e-6
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_bank_in_half_precision_is_scored_as_its_values():
    bank, queries = embeddings(40).half(), embeddings(5, seed=1)
    scores = CosineNeighbors(bank).score(queries)
    torch.testing.assert_close(scores, CosineNeighbors(bank.float()).score(queries))


def slow_standardized(clip, references):
    spread = references.std(0, ddof=1)
    spread = spread + 0.25 * spread.mean()
    largest = np.abs((clip - references.mean(0)) / spread).max()
    return largest, sorted(np.linalg.norm((clip - r) / spread) for r in references)


def test_deviations_match_the_plain_formula():
    bank, queries = embeddings(8), embeddings(3, seed=1)
    largest, neighbors = MaxDeviation(bank), StandardizedNeighbors(bank, 2)
    for i, query in enumerate(queries.double().numpy()):
        expected, distances = slow_standardized(query, bank.double().numpy())
        assert largest.score(queries)[i].item() == pytest.approx(expected)
        assert neighbors.score(queries)[i].item() == pytest.approx(np.mean(distances[:2]))
    for i, clip in enumerate(bank.double().numpy()):
        expected, distances = slow_standardized(clip, without(bank, i).double().numpy())
        assert largest.leave_one_out()[i].item() == pytest.approx(expected)
        assert neighbors.leave_one_out()[i].item() == pytest.approx(np.mean(distances[:2]))


def slow_gaussian(clip, references, shrinkage=None, spread=None):
    """Mahalanobis distance and the mean of the five largest conditional deviations, each by its own regression."""
    from sklearn.covariance import LedoitWolf

    if spread is None:
        spread = references.std(0, ddof=1)
        spread = spread + 0.25 * spread.mean()
    standardized, z = (references - references.mean(0)) / spread, (clip - references.mean(0)) / spread
    if shrinkage is None:
        covariance = LedoitWolf(assume_centered=True).fit(standardized).covariance_
    else:
        share, ridge = shrinkage
        covariance = (1 - share) * standardized.T @ standardized / len(references) + ridge * np.eye(len(clip))
    distance = np.sqrt(z @ np.linalg.solve(covariance, z))
    deviations = []
    for place in range(len(z)):
        others = np.arange(len(z)) != place
        weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, place])
        variance = covariance[place, place] - covariance[place, others] @ weights
        deviations.append(abs(z[place] - weights @ z[others]) / np.sqrt(variance))
    return distance, np.mean(sorted(deviations)[-5:])


@pytest.mark.parametrize(("rows", "dimensions"), [(30, 7), (6, 20), (4, 3)])
def test_distance_and_conditional_deviations_match_scikit_learn_and_a_refit(rows, dimensions):
    mixing = embeddings(dimensions, dimensions, seed=3)
    bank, queries = embeddings(rows, dimensions) @ mixing, embeddings(3, dimensions, seed=1)
    backends = Mahalanobis(bank), ConditionalDeviations(bank)
    for row, query in enumerate(queries.double().numpy()):
        for backend, expected in zip(backends, slow_gaussian(query, bank.double().numpy()), strict=True):
            assert backend.score(queries)[row].item() == pytest.approx(expected, rel=1e-4)
    if rows > 4:  # without a clip the smallest bank is too small
        for row, clip in enumerate(bank.double().numpy()):
            for backend, expected in zip(
                backends, slow_gaussian(clip, without(bank, row).double().numpy()), strict=True
            ):
                assert backend.leave_one_out()[row].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dimensions", [20, 100])
def test_leaving_out_one_of_many_clips_has_a_closed_form(dimensions):
    """Exact with spread and shrinkage of all clips, and close to a whole refit."""
    mixing = embeddings(dimensions, dimensions, seed=3)
    bank = embeddings(80, dimensions) @ mixing
    for place, kind in enumerate((Mahalanobis, ConditionalDeviations)):
        backend = kind(bank)
        found = backend.leave_one_out()
        for row in range(0, 80, 9):
            others, clip = without(bank, row).double().numpy(), bank[row].double().numpy()
            kept = slow_gaussian(clip, others, (backend.shrinkage, backend.ridge), backend.spread.double().numpy())
            assert found[row].item() == pytest.approx(kept[place], rel=1e-3)
            assert found[row].item() == pytest.approx(slow_gaussian(clip, others)[place], rel=0.1)


def test_the_residual_of_principal_components_is_scikit_learns():
    from sklearn.decomposition import PCA

    bank, queries = embeddings(30, 12) * torch.linspace(3, 0.1, 12), embeddings(4, 12, seed=1)
    fitted = PCA(0.9, svd_solver="full").fit(bank.double().numpy())
    assert 2 < fitted.n_components_ < 10
    new = queries.double().numpy()
    expected = np.linalg.norm(new - fitted.inverse_transform(fitted.transform(new)), axis=1)
    np.testing.assert_allclose(PcaResidual(bank, 0.9).score(queries), expected, rtol=1e-9)
    np.testing.assert_allclose(pca_residual(bank.double().numpy(), new, 0.9), expected, rtol=1e-9)


def test_four_backends_are_fused_by_the_minimum_of_their_z_scores():
    """arXiv 2606.19269: nearest neighbor, Mahalanobis, density-normalized neighbor and PCA residual."""
    bank, queries = embeddings(40, 8), embeddings(5, 8, seed=1)
    config = ScoringConfig(
        backends=("cosine", "mahalanobis", "cosine", "pca_residual"),
        normalization=("none", "none", "ratio", "none"),
        fusion="min",
    )
    parts = [CosineNeighbors(bank), Mahalanobis(bank), CosineNeighbors(bank, normalization="ratio"), PcaResidual(bank)]
    own = [part.leave_one_out().numpy() for part in parts]
    z = [(part.score(queries).numpy() - left.mean()) / left.std() for part, left in zip(parts, own, strict=True)]
    np.testing.assert_allclose(make_scorer({"source": bank}, config).score(queries), np.min(z, axis=0), rtol=1e-9)


def test_cross_scores_leave_out_every_clip_or_its_fold():
    few = embeddings(9)
    expected = [CosineNeighbors(without(few, row)).score(few[row : row + 1]) for row in range(9)]
    torch.testing.assert_close(cross_scores(CosineNeighbors, few), torch.cat(expected))
    many, seen = embeddings(50), []
    scores = cross_scores(lambda kept: seen.append(kept) or CosineNeighbors(kept), many)
    assert [len(kept) for kept in seen] == [45] * 10
    assert (scores >= CosineNeighbors(many).leave_one_out() - 1e-12).all() and (scores > 1e-6).all()


class ByNumberOfParts:
    """Scores that fall with the number of parts of its bank, as means over parts do."""

    def __init__(self, bank):
        self.parts = len(bank[:, 0].unique())

    def score(self, queries):
        return queries[:, 1].double() + 3 / self.parts


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([4, 2, 3, 1, 5, 3], 6),
        ([1] * 10, 10),
        ([2] * 30, 30),  # in ten folds
        ([3] * 5, 4),  # too few parts to extrapolate from: those without one
        ([3] * 11, 10),  # so many that it is not worth the time
        ([9, 9, 1, 1, 1, 1], 5),  # too few clips remain without two
    ],
)
def test_scores_without_a_part_are_extrapolated_to_all_parts(sizes, parts):
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    bank = torch.stack([torch.from_numpy(numbers), torch.arange(len(numbers))], dim=1).float()
    scores = extrapolated_scores(ByNumberOfParts, bank, recording_splits(numbers))
    torch.testing.assert_close(scores, bank[:, 1].double() + 3 / parts)


def test_a_long_recording_that_is_left_out_in_blocks_is_not_extrapolated():
    bank, splits = embeddings(100), recording_splits(np.zeros(100, dtype=int))
    expected = cross_scores(CosineNeighbors, bank, splits)
    torch.testing.assert_close(extrapolated_scores(CosineNeighbors, bank, splits), expected)


def test_fewer_references():
    bank = torch.cat([embeddings(20) * 0.01 + shift for shift in (0, 5, 10)])
    for reduce in (k_means, k_center):
        few = reduce(bank, 3)
        assert sorted(few.mean(1).round().tolist()) == [0, 5, 10]
        assert reduce(bank, 100) is bank
    assert all(any(torch.equal(row, clip) for clip in bank) for row in k_center(bank, 7))
    # Each chosen clip is the farthest from those before it.
    chosen = k_center(bank, 4)
    distances = torch.cdist(bank, chosen[:3]).amin(1)
    assert torch.equal(chosen[3], bank[distances.argmax()])
    assert len(k_means(embeddings(1).repeat(9, 1), 3)) == 1


def test_mixed_target_references():
    target, source = embeddings(3), embeddings(20, seed=1)
    mixed = mem_mixup(target, source)
    for clip, found in zip(target, mixed, strict=True):
        nearest = min(source, key=lambda reference: distance(clip, reference, "cosine"))
        torch.testing.assert_close(found, 0.9 * clip + 0.1 * nearest)
    more = smote(target, 40)
    assert torch.equal(more[:3], target) and len(more) == 40
    for synthetic in more[3:]:  # on a line between two given clips
        detours = [(synthetic - a).norm() + (synthetic - b).norm() - (a - b).norm() for a in target for b in target]
        assert min(detours) < 1e-4
    assert smote(target, 2) is target and len(smote(target[:1], 9)) == 1
    assert torch.equal(smote(embeddings(1).repeat(3, 1), 5), embeddings(1).repeat(5, 1))


def test_fusion_and_domains_match_the_plain_formulas():
    source, target, queries = embeddings(12), embeddings(5, seed=1) + 2, embeddings(6, seed=2)
    banks = {"source": source, "target": target}
    lowest = MinOverDomains({name: MaxDeviation(bank) for name, bank in banks.items()}, banks)
    both = [MaxDeviation(source), MaxDeviation(target)]
    torch.testing.assert_close(lowest.score(queries), torch.minimum(*(part.score(queries) for part in both)))
    expected = torch.cat(
        [
            torch.minimum(both[0].leave_one_out(), both[1].score(source)),
            torch.minimum(both[1].leave_one_out(), both[0].score(target)),
        ]
    )
    torch.testing.assert_close(lowest.leave_one_out(), expected)
    parts = [MaxDeviation(source), CosineNeighbors(source)]
    z = [
        (part.score(queries) - part.leave_one_out().mean()) / part.leave_one_out().std(correction=0) for part in parts
    ]
    for how, join in (("mean", torch.mean), ("min", torch.amin), ("max", torch.amax)):
        torch.testing.assert_close(FusedScorer(parts, how).score(queries), join(torch.stack(z), 0))


def test_bands_have_memories_of_their_own():
    bank, queries = embeddings(10, 8), embeddings(3, 8, seed=1)
    config = ScoringConfig(preset="fast", num_bands=2)
    bands = [CosineNeighbors(bank[:, half]) for half in (slice(0, 4), slice(4, 8))]
    raw = [band.score(queries[:, half]) for band, half in zip(bands, (slice(0, 4), slice(4, 8)), strict=True)]
    z = [
        (scores - band.leave_one_out().mean()) / band.leave_one_out().std(correction=0)
        for band, scores in zip(bands, raw, strict=True)
    ]
    torch.testing.assert_close(make_scorer({"source": bank}, config).score(queries), sum(raw) / 2)
    for how, expected in (
        ("max", torch.maximum(*raw)),
        ("mean_max", (sum(raw) / 2 + torch.maximum(*raw)) / 2),
        ("z_mean", sum(z) / 2),
        ("z_min", torch.minimum(*z)),
    ):
        scorer = make_scorer({"source": bank}, ScoringConfig(preset="fast", num_bands=2, band_fusion=how))
        torch.testing.assert_close(scorer.score(queries), expected)
    with pytest.raises(ValueError, match="num_bands is 3, but an embedding has 8 dimensions"):
        make_scorer({"source": bank}, ScoringConfig(num_bands=3))


@pytest.mark.parametrize(
    "options", [{}, {"per_domain_banks": True}, {"preset": "fast", "num_bands": 2}, {"encoder_weight": 0.25}]
)
def test_statistics_beside_an_encoder_are_compared_by_themselves(options):
    banks = {"source": embeddings(20, STATISTICS_SIZE + 6), "target": embeddings(8, STATISTICS_SIZE + 6, seed=1)}
    queries = embeddings(5, STATISTICS_SIZE + 6, seed=2)
    both = make_scorer(banks, ScoringConfig(**options, with_statistics=True, event_share=0))
    weight = options.get("encoder_weight", 1.0)
    expected, expected_left_out = 0, 0
    for columns, own, share in (
        (slice(0, SPECTRUM_SIZE), options | {"num_bands": 1}, 1 / (1 + weight)),
        (slice(STATISTICS_SIZE, None), options, weight / (1 + weight)),
    ):
        alone = make_scorer({domain: bank[:, columns] for domain, bank in banks.items()}, ScoringConfig(**own))
        leave_one_out_scores = alone.leave_one_out()
        mean, spread = leave_one_out_scores.mean(), leave_one_out_scores.std(correction=0)
        expected += (alone.score(queries[:, columns]) - mean) / spread * share
        expected_left_out += (leave_one_out_scores - mean) / spread * share
    torch.testing.assert_close(both.score(queries), expected)
    torch.testing.assert_close(both.leave_one_out(), expected_left_out)


EVERY_KIND = [
    *(
        {"backends": (name,)}
        for name in ("conditional", "cosine", "euclidean", "standardized_knn", "max_deviation", "mahalanobis")
    ),
    {"backends": ("pca_residual",)},
    {"backends": ("cosine", "cosine", "pca_residual"), "normalization": ("none", "ratio", "none"), "fusion": "min"},
    *({"preset": "fast", "normalization": name} for name in ("ratio", "difference", "varmin", "log_varmin", "z")),
    {"preset": "fast", "per_domain_banks": True, "target": "smote"},
    {"preset": "fast", "per_domain_banks": True, "target": "mem_mixup"},
    {"preset": "fast", "reduction": "k_means", "num_references": 4},
    {"preset": "fast", "reduction": "k_center", "num_references": 4},
    {"num_bands": 2, "band_fusion": "max"},
    {"num_bands": 2, "band_fusion": "z_max"},
    {"preset": "fast"},
    {"preset": "standard"},
    {"backends": ("mahalanobis", "cosine"), "fusion": "max"},
    {"preset": "standard", "per_domain_banks": True, "fusion": "min"},
]


@pytest.mark.parametrize("options", EVERY_KIND)
@settings(max_examples=5, deadline=None)
@given(others=st.lists(st.integers(1, 6), min_size=0, max_size=6), place=st.integers(0, 6))
def test_a_score_does_not_depend_on_other_test_clips(options, others, place):
    """Inductive: whatever is scored along with it, before it or behind it."""
    scorer = _scorer(options)
    clip = embeddings(1, seed=100)
    around = [10.0**scale * embeddings(1, seed=scale) for scale in others]
    queries = torch.cat([*around[:place], clip, *around[place:]])
    position = min(place, len(around))
    assert scorer.score(queries)[position].item() == pytest.approx(scorer.score(clip).item(), rel=1e-9, abs=1e-9)


_SCORERS = {}


def _scorer(options):
    key = str(options)
    if key not in _SCORERS:
        banks = {"source": embeddings(25), "target": embeddings(6, seed=9) + 1}
        _SCORERS[key] = make_scorer(banks, ScoringConfig(**options))
    return _SCORERS[key]


@pytest.mark.parametrize("options", EVERY_KIND)
@pytest.mark.parametrize("clips", ["fewest", "identical", "no target", "one target"])
def test_degenerate_banks_have_finite_scores(options, clips):
    config = ScoringConfig(**options, num_neighbors=3)
    banks = {
        "fewest": {"source": embeddings(config.minimum_clips)},
        "identical": {"source": embeddings(1).repeat(8, 1), "target": embeddings(1).repeat(4, 1)},
        "no target": {"source": embeddings(8)},
        "one target": {"source": embeddings(8), "target": embeddings(1, seed=1)},
    }[clips]
    scorer = make_scorer(banks, config)
    leave_one_out_scores, far = scorer.leave_one_out(), scorer.score(100 * embeddings(1, seed=5))
    assert torch.isfinite(leave_one_out_scores).all() and torch.isfinite(far).all()
    assert len(leave_one_out_scores) == sum(map(len, banks.values()))
    if clips == "identical":
        assert far > leave_one_out_scores.max()


def test_one_clip_is_refused_or_has_a_plain_distance():
    single, queries = CosineNeighbors(embeddings(1), normalization="ratio"), embeddings(2, seed=1)
    expected = [distance(query, embeddings(1)[0], "cosine") for query in queries]
    np.testing.assert_allclose(single.score(queries), expected)
    with pytest.raises(ValueError, match="at least 2"):
        single.leave_one_out()
    for backend in (MaxDeviation, StandardizedNeighbors):
        with pytest.raises(ValueError, match="3 normal clips are too few"):
            backend(embeddings(3))
    for backend in (Mahalanobis, ConditionalDeviations):
        with pytest.raises(ValueError, match="2 normal clips are too few"):
            backend(embeddings(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "best"}, "preset is 'best'; accepted are fast, standard"),
        ({"backends": ("cosine", "svm")}, "backends is 'svm'; accepted are conditional"),
        ({"backends": ()}, "backends is empty"),
        ({"normalization": "log"}, "normalization is 'log'"),
        ({"backends": ("cosine",), "normalization": ("none", "z")}, "normalization has 2 words for 1 backends"),
        ({"target": "smote"}, "target is 'smote', which needs a target bank"),
        ({"num_neighbors": 0}, "num_neighbors is 0; accepted are whole numbers from 1"),
        ({"threshold_method": "otsu"}, "threshold_method is 'otsu'"),
        ({"false_alarm_rate": 5}, "false_alarm_rate is 5; accepted are numbers above 0 below 1"),
    ],
)
def test_options_that_are_not_accepted_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ScoringConfig(**options)


def test_an_option_wins_over_its_preset():
    assert ScoringConfig(preset="fast").backends == ("cosine",)
    assert ScoringConfig(preset="fast", normalization="ratio").normalization == "ratio"
    assert ScoringConfig(preset="standard", backends=["max_deviation"]).backends == ("max_deviation",)
