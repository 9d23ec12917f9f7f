"""AUC, partial AUC and the official score: what they equal, what leaves them as they are, what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from hf_asd.data.dcase.years import YEARS, year_rules
from hf_asd.metrics.functional import auc, harmonic_mean, pauc, precision_recall_f1
from hf_asd.metrics.official_score import official_score, score_table, section_terms, weighted_terms


quick = settings(max_examples=60, deadline=None)


@st.composite
def sections(draw, max_score: int = 8):
    """A section's clips, at least one of each domain and condition; few different scores, so that many tie."""
    groups = [("source", 0), ("source", 1), ("target", 0), ("target", 1)]
    groups += draw(st.lists(st.sampled_from(groups), max_size=40))
    domains, labels = (np.array(column) for column in zip(*groups, strict=True))
    score = st.integers(-max_score, max_score)
    scores = np.array(draw(st.lists(score, min_size=len(labels), max_size=len(labels))), dtype=float)
    return labels, scores, domains


@quick
@given(sections(), st.sampled_from([0.05, 0.1, 0.3, 0.75, 1.0]))
def test_auc_and_pauc_are_those_of_scikit_learn(section, max_fpr):
    labels, scores, _ = section
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert pauc(labels, scores, max_fpr) == pytest.approx(roc_auc_score(labels, scores, max_fpr=max_fpr), abs=1e-12)


@quick
@given(sections())
@pytest.mark.slow
def test_terms_are_scikit_learn_s_over_the_clips_that_count(section):
    labels, scores, domains = section
    found = section_terms(labels, scores, domains, 2025)
    for domain in ("source", "target"):
        used = (domains == domain) | (labels == 1)
        assert found[f"auc_{domain}"] == pytest.approx(roc_auc_score(labels[used], scores[used]), abs=1e-12)
    assert found["pauc"] == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1), abs=1e-12)
    found = section_terms(labels, scores, domains, 2021)
    for domain in ("source", "target"):
        used = domains == domain
        assert found[f"auc_{domain}"] == pytest.approx(roc_auc_score(labels[used], scores[used]), abs=1e-12)
        partial = roc_auc_score(labels[used], scores[used], max_fpr=0.1)
        assert found[f"pauc_{domain}"] == pytest.approx(partial, abs=1e-12)
    found = section_terms(labels, scores, domains, 2020)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@quick
@given(
    sections(), st.sampled_from(list(YEARS)), st.sampled_from([np.exp, np.arctan, lambda x: 3 * x + 7, lambda x: x**3])
)
def test_monotone_maps_of_the_scores_change_nothing(section, year, rising):
    labels, scores, domains = section
    assert section_terms(labels, rising(scores), domains, year) == section_terms(labels, scores, domains, year)


@quick
@given(sections(), st.sampled_from(list(YEARS)), st.randoms(use_true_random=False))
def test_the_order_of_the_clips_changes_nothing(section, year, random):
    order = list(range(len(section[0])))
    random.shuffle(order)
    labels, scores, domains = section
    shuffled = section_terms(labels[order], scores[order], domains[order], year)
    assert shuffled == pytest.approx(section_terms(labels, scores, domains, year), abs=1e-12)


@quick
@given(sections())
def test_opposite_scores_give_the_opposite_auc(section):
    labels, scores, _ = section
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores), abs=1e-12)


@quick
@given(sections(), st.sampled_from(list(YEARS)), st.data())
def test_a_weight_counts_like_that_many_clips(section, year, data):
    labels, scores, domains = section
    count = st.lists(st.integers(1, 3), min_size=len(labels), max_size=len(labels))
    weights = np.array(data.draw(count))
    repeated = section_terms(*(np.repeat(column, weights) for column in section), year)
    weighted = weighted_terms(labels, scores, domains, weights[None].astype(float), year)
    assert {name: value[0] for name, value in weighted.items()} == pytest.approx(repeated, abs=1e-12)


def system(kind: str, num_machines: int = 8, num_clips: int = 50, seed: int = 0):
    """Columns of a result of the size of 2025: 8 machines, 50 clips a domain and condition."""
    random = np.random.default_rng(seed)
    labels = np.tile(np.repeat([0, 1, 0, 1], num_clips), num_machines)
    domains = np.tile(np.repeat(["source", "source", "target", "target"], num_clips), num_machines)
    machines = np.repeat([f"machine{number}" for number in range(num_machines)], 4 * num_clips)
    scores = {
        "perfect": labels + 0.0,
        "inverted": 1.0 - labels,
        "constant": np.zeros(len(labels)),
        "random": random.normal(size=len(labels)),
        "good": random.normal(size=len(labels)) + 1.5 * labels,
    }[kind]
    return labels, scores, machines, np.full(len(labels), "00"), domains


@pytest.mark.parametrize("year", YEARS)
def test_the_ends_of_the_scale(year):
    assert score_table(*system("perfect"), year)["official_score"] == 1.0
    assert score_table(*system("constant"), year)["official_score"] == pytest.approx(0.5)
    assert abs(score_table(*system("random"), year)["official_score"] - 0.5) < 0.03
    # An AUC of 0 pulls a harmonic mean to (about) 0, but not an arithmetic one; the pAUC is never below 0.4736.
    inverted = score_table(*system("inverted"), year)["official_score"]
    assert inverted == pytest.approx(0.2368, abs=1e-3) if year == 2020 else inverted < 1e-14


def test_what_2022_changed():
    """The target's anomalies score below the source's normal clips: one threshold cannot serve both."""
    labels = np.array([0, 0, 1, 1] * 2)
    domains = np.array(["source"] * 4 + ["target"] * 4)
    scores = np.array([10.0, 11, 20, 21, 0, 1, 5, 6])
    assert section_terms(labels, scores, domains, 2021)["auc_source"] == 1.0
    assert section_terms(labels, scores, domains, 2022)["auc_source"] == 0.5
    assert section_terms(labels, scores, domains, 2022)["auc_target"] == 1.0


def test_infinite_scores_rank_last_and_first_and_tie_with_each_other():
    labels, scores = [0, 0, 1, 1, 1], np.array([-np.inf, 3.0, 2.0, np.inf, np.inf])
    assert auc(labels, scores) == auc(labels, [-9, 3, 2, 9, 9])
    assert auc([0, 1], [np.inf, np.inf]) == 0.5
    assert pauc(labels, scores) == pauc(labels, [-9, 3, 2, 9, 9])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 1], [0.0, np.nan, np.nan], "2 of 3 scores are NaN, the first at position 1"),
        ([0, 1], [0.0, 1.0, 2.0], r"labels of shape \(2,\) but scores of shape \(3,\)"),
        ([[0, 1]], [[0.0, 1.0]], r"shape \(1, 2\)"),
        ([0, 0], [0.0, 1.0], "none of the 2 clips is anomalous"),
        ([1, 1], [0.0, 1.0], "none of the 2 clips is normal"),
        ([], [], "none of the 0 clips"),
        ([0, 2], [0.0, 1.0], r"labels hold \[2\]; accepted are 0 and 1"),
    ],
)
def test_what_no_auc_can_be_taken_of(labels, scores, message):
    for metric in (auc, pauc):
        with pytest.raises(ValueError, match=message):
            metric(labels, scores)


@pytest.mark.parametrize("max_fpr", [0, -0.1, 1.1, float("nan")])
def test_max_fpr_out_of_range(max_fpr):
    with pytest.raises(ValueError, match="max_fpr is .*; accepted are values above 0 and at most 1"):
        pauc([0, 1], [0.0, 1.0], max_fpr)


def test_errors_name_machine_and_section():
    labels, scores, machines, numbers, domains = system("random", 2, 5)
    scores[25] = np.nan
    with pytest.raises(ValueError, match="machine1, section 00: 1 of 20 scores are NaN, the first at position 5"):
        score_table(labels, scores, machines, numbers, domains)
    labels, scores, machines, numbers, domains = system("random", 2, 5)
    labels = labels * (machines == "machine0")
    with pytest.raises(ValueError, match="machine1, section 00: none of the 20 clips is anomalous"):
        score_table(labels, scores, machines, numbers, domains)
    with pytest.raises(ValueError, match="40 labels but 39 scores"):
        score_table(labels, scores[1:], machines, numbers, domains)
    with pytest.raises(ValueError, match="40 labels but 39 machines"):
        score_table(labels, scores, machines[1:], numbers, domains)
    with pytest.raises(ValueError, match="there are no clips"):
        score_table([], [], [], [], [])


def test_domains_that_are_missing():
    labels, scores, machines, numbers, domains = system("random", 1, 5)
    with pytest.raises(ValueError, match=r"unknown: \['unknown'\]; the official score of 2025 needs"):
        score_table(labels, scores, machines, numbers, np.full(20, "unknown"))
    assert score_table(labels, scores, machines, numbers, np.full(20, "unknown"), 2020)["sections"][0]["clips"] == 20
    with pytest.raises(ValueError, match="no normal clip for the target domain; the official score of 2025"):
        score_table(labels, scores, machines, numbers, np.full(20, "source"))
    only_source = labels * (domains == "source")
    assert section_terms(only_source, scores, domains, 2025)["auc_target"] >= 0
    with pytest.raises(ValueError, match="no anomalous clip for the target domain; the official score of 2021"):
        section_terms(only_source, scores, domains, 2021)


@pytest.mark.parametrize("year", [2019, 2027, "2025"])
def test_unknown_years(year):
    with pytest.raises(ValueError, match="accepted are 2020 to 2026"):
        year_rules(year)


@quick
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_precision_recall_and_f1_are_those_of_scikit_learn(pairs):
    labels, decisions = (np.array(column).astype(int) for column in zip(*pairs, strict=True))
    expected = precision_recall_fscore_support(labels, decisions, average="binary", zero_division=0)[:3]
    assert precision_recall_f1(labels, decisions) == pytest.approx(expected)
    assert precision_recall_f1(labels, decisions.astype(bool)) == pytest.approx(expected)


def test_decisions_are_scored_a_domain_at_a_time():
    labels, scores, machines, numbers, domains = system("good", 1, 10)
    decisions = labels * (domains == "source")
    row = score_table(labels, scores, machines, numbers, domains, decisions=decisions)["sections"][0]
    assert (row["precision_source"], row["recall_source"], row["f1_source"]) == (1.0, 1.0, 1.0)
    assert (row["precision_target"], row["recall_target"], row["f1_target"]) == (0.0, 0.0, 0.0)
    row = score_table(labels, scores, machines, numbers, domains, 2020, decisions=decisions)["sections"][0]
    assert (row["precision"], row["recall"]) == (1.0, 0.5)
    with pytest.raises(ValueError, match=r"decisions hold \[2\]; accepted are 0 and 1"):
        precision_recall_f1([0, 1], [0, 2])
    with pytest.raises(ValueError, match="2 labels but 1 decisions"):
        precision_recall_f1([0, 1], [0])


def test_harmonic_mean_is_floored_and_official_scores_are_flat():
    assert harmonic_mean([0.5, 1.0]) == pytest.approx(2 / 3)
    assert 0 < harmonic_mean([0.0, 1.0]) < 1e-15
    assert harmonic_mean([[0.5, 1.0], [1.0, 1.0]], axis=1) == pytest.approx([2 / 3, 1.0])
    # Machines with more sections weigh more: the mean is flat over sections, not one of means.
    terms = [{"auc": 1.0, "pauc": 1.0}, {"auc": 0.0, "pauc": 0.0}, {"auc": 0.0, "pauc": 0.0}]
    assert official_score(terms, 2020) == pytest.approx(1 / 3)
    names = [("a", "00"), ("b", "00"), ("b", "01")]
    labels, scores, _, _, domains = system("good", 3, 5)
    machines, numbers = (np.repeat(column, 20) for column in zip(*names, strict=True))
    result = score_table(labels, scores, machines, numbers, domains)
    rows = result["sections"]
    assert [(row["machine"], row["section"]) for row in rows] == names
    flat = [row[name] for row in rows for name in ("auc_source", "auc_target", "pauc")]
    assert result["official_score"] == result["harmonic_mean"] == pytest.approx(harmonic_mean(flat))
    assert result["machines"]["b"]["official_score"] == pytest.approx(harmonic_mean(flat[3:]))
    assert result["arithmetic_mean"] == pytest.approx(np.mean(flat))
