import numpy as np
import pytest
from datasets import Dataset
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from hf_asd import ClusteringConfig, assign_pseudo_attributes
from hf_asd.clustering import cluster_quality, ward_clusters


def blobs(rng, sizes, dimensions=12, spread=0.05):
    centres = rng.standard_normal((len(sizes), dimensions))
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return centres[truth] + spread * rng.standard_normal((len(truth), dimensions)), truth


def test_ward_equals_scikit_learns():
    vectors = np.random.default_rng(0).standard_normal((80, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for count in (1, 2, 5, 17):
        theirs = AgglomerativeClustering(count, linkage="ward").fit_predict(unit)
        assert adjusted_rand_score(theirs, ward_clusters(vectors, count)) == 1.0


def test_the_number_of_clusters_is_found_and_clusters_are_numbered_by_size():
    vectors, truth = blobs(np.random.default_rng(0), (5, 30, 12, 20))
    labels = ward_clusters(vectors)
    assert adjusted_rand_score(truth, labels) == 1.0
    assert np.bincount(labels).tolist() == [30, 20, 12, 5]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_identical_clips_are_one_cluster(count):
    assert ward_clusters(np.ones((count, 4))).tolist() == [0] * count


def rows_of(machine, vectors, labels):
    return [
        {"machine": machine, "clip_id": f"{machine}-{i}", "attribute_label": label, "embedding": vector.tolist()}
        for i, (vector, label) in enumerate(zip(vectors, labels, strict=True))
    ]


def test_only_hidden_attributes_get_a_cluster_and_machines_do_not_mix():
    rng = np.random.default_rng(0)
    fans, fan_truth = blobs(rng, (15, 15))
    pumps, pump_truth = blobs(rng, (10, 10, 10))
    known = rows_of("valve", rng.standard_normal((6, 12)), ["speed=1"] * 6)
    rows = rows_of("fan", fans, [None] * 30) + known + rows_of("pump", pumps, [None] * 30)
    dataset = assign_pseudo_attributes(Dataset.from_list(rows), ClusteringConfig(max_clusters=8))
    named = dict(zip(dataset["clip_id"], dataset["pseudo_attribute"], strict=True))
    assert all(named[row["clip_id"]] is None for row in known)
    truth = {f"fan-{i}": str(label) for i, label in enumerate(fan_truth)}
    truth |= {f"pump-{i}": str(label) for i, label in enumerate(pump_truth)}
    quality = cluster_quality(dataset, truth)
    assert quality["fan"]["ari"] == 1.0 and quality["fan"]["num_clusters"] == 2
    assert quality["pump"]["nmi"] == pytest.approx(1.0) and quality["pump"]["num_clusters"] == 3
    assert "valve" not in quality


def test_the_order_of_rows_does_not_change_the_clusters():
    vectors, _ = blobs(np.random.default_rng(3), (9, 14, 21), spread=0.6)
    order = np.random.default_rng(4).permutation(len(vectors))
    assert adjusted_rand_score(ward_clusters(vectors)[order], ward_clusters(vectors[order])) == 1.0


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="num_clusters is 0"):
        ClusteringConfig(num_clusters=0)
    with pytest.raises(ValueError, match="max_clusters is 1"):
        ClusteringConfig(max_clusters=1)
