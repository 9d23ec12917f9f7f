import csv
from typing import get_type_hints

import numpy as np
import pytest
from datasets import Dataset
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from hf_asd import ClusteringConfig, assign_pseudo_attributes
from hf_asd.clustering.cluster_names import read_names, write_names
from hf_asd.clustering.dendrogram import build_dendrogram, distances, weighted_ward
from hf_asd.clustering.pseudo_attributes import cluster_machine, confidence_of, prepare_points
from hf_asd.clustering.quality import cluster_quality, label_free_quality, stability
from hf_asd.clustering.summary import describe_clusters
from hf_asd.options import choices


def blobs(rng, sizes, dimensions=12, spread=0.05):
    centers = np.sqrt(dimensions) * np.linalg.qr(rng.standard_normal((dimensions, len(sizes)))).Q.T
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return centers[truth] + spread * rng.standard_normal((len(truth), dimensions)), truth


def clusters_of(vectors, domain_of=None, **options):
    domain_of = np.full(len(vectors), "source") if domain_of is None else np.array(domain_of)
    return cluster_machine(vectors, domain_of, ClusteringConfig(**options))[0]


def rows_of(machine, vectors, labels, domains=None):
    return [
        {
            "machine": machine,
            "clip_id": f"{machine}-{i}",
            "domain": "source" if domains is None else domains[i],
            "attribute_label": label,
            "embedding": vector.tolist(),
        }
        for i, (vector, label) in enumerate(zip(vectors, labels, strict=True))
    ]


def test_ward_equals_scikit_learns():
    vectors = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for count in (1, 2, 5, 17):
        theirs = AgglomerativeClustering(count, linkage="ward").fit_predict(unit)
        assert adjusted_rand_score(theirs, clusters_of(vectors, num_clusters=count)) == 1.0


@pytest.mark.parametrize("method", ["average", "complete"])
def test_other_linkages_equal_scikit_learns_with_cosine_distance(method):
    vectors = np.random.default_rng(0).standard_normal((80, 5))
    theirs = AgglomerativeClustering(7, linkage=method, metric="cosine").fit_predict(vectors)
    assert adjusted_rand_score(theirs, clusters_of(vectors, num_clusters=7, method=method)) == 1.0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_scipys_and_those_of_identical_clips_are_zero(metric):
    vectors = np.random.default_rng(0).standard_normal((70, 6))
    found = distances(vectors, cosine=metric == "cosine")
    np.testing.assert_allclose(found, pdist(vectors, metric), atol=1e-12)
    assert not distances(np.repeat(vectors[:1], 600, axis=0)).any()


def test_ward_with_weights_is_ward_of_as_many_clips():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 4))
    np.testing.assert_allclose(weighted_ward(points, np.ones(60)), linkage(points, "ward"), atol=1e-9)
    counts = rng.integers(1, 6, 60)
    repeated = linkage(np.repeat(points, counts, axis=0), "ward")
    np.testing.assert_allclose(weighted_ward(points, counts)[:, 2], repeated[-59:, 2], atol=1e-9)


def test_micro_clusters_agree_with_exact_ward():
    vectors, truth = blobs(np.random.default_rng(0), (300, 250, 200, 150, 100), spread=0.4)
    exact, micro = build_dendrogram(vectors), build_dendrogram(vectors, exact_clips=100)
    assert len(micro.points) <= 500 and micro.weights.sum() == 1000
    np.testing.assert_allclose(micro.weights @ micro.points / 1000, vectors.mean(0), atol=1e-9)
    labels = exact.cut(5)[exact.leaves]
    assert adjusted_rand_score(labels, micro.cut(5)[micro.leaves]) > 0.95
    with pytest.raises(ValueError, match="1000 clips of a machine are too many; accepted are at most 100"):
        build_dendrogram(vectors, "average", exact_clips=100)


@pytest.mark.parametrize("method", choices(get_type_hints(ClusteringConfig)["method"]))
def test_the_number_of_clusters_is_found_and_clusters_are_numbered_by_size(method):
    vectors, truth = blobs(np.random.default_rng(0), (9, 30, 12, 20))
    labels = clusters_of(vectors, method=method)
    assert adjusted_rand_score(truth, labels) == 1.0
    assert np.bincount(labels).tolist() == [30, 20, 12, 9]


def test_one_dendrogram_gives_nested_clusters_at_every_number():
    vectors, _ = blobs(np.random.default_rng(1), (20, 20, 20), spread=0.8)
    dendrogram = build_dendrogram(vectors)
    cuts = [dendrogram.cut(k) for k in range(1, 20)]
    assert [cut.max() + 1 for cut in cuts] == list(range(1, 20))
    for coarse, fine in zip(cuts, cuts[1:], strict=False):
        assert len(np.unique(np.stack([coarse, fine]), axis=1).T) == fine.max() + 1


def test_a_distance_decides_instead_of_a_number():
    vectors, truth = blobs(np.random.default_rng(0), (10, 10, 10))
    assert adjusted_rand_score(truth, clusters_of(vectors, distance_threshold=1.0)) == 1.0
    with pytest.warns(UserWarning, match="30 clips form one cluster"):
        assert clusters_of(vectors, distance_threshold=100.0).max() == 0


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_few_or_identical_clips_are_one_cluster_and_it_is_said(count):
    with pytest.warns(UserWarning, match=f"machine: its {count} clips form one cluster"):
        assert clusters_of(np.ones((count, 4))).tolist() == [0] * count


@pytest.mark.parametrize("method", choices(get_type_hints(ClusteringConfig)["method"]))
def test_more_clusters_than_places_are_refused_softly(method):
    vectors = np.repeat(np.eye(3), 4, axis=0)
    with pytest.warns(
        UserWarning, match="5 clusters were asked for, but its 12 clips have only 3 different embeddings"
    ):
        assert np.bincount(clusters_of(vectors, num_clusters=5, method=method)).tolist() == [4, 4, 4]


def test_target_clips_are_clustered_as_asked():
    rng = np.random.default_rng(0)
    source, _ = blobs(rng, (20, 12))
    target = source[:3] + np.array([0.3, *[0] * 11])  # near the larger cluster
    vectors, domain_of = np.concatenate([source, target]), ["source"] * 32 + ["target"] * 3
    joined = clusters_of(vectors, domain_of, domains="source", num_clusters=2)
    assert (joined[32:] == joined[0]).all() and joined.max() == 1
    apart = clusters_of(vectors, domain_of, domains="apart", num_clusters=2)
    assert not set(apart[:32]) & set(apart[32:])
    together = clusters_of(vectors, domain_of, num_clusters=3)
    assert len(set(together[:32]) | set(together[32:])) == 3


def test_components_are_whitened_as_asked():
    vectors = np.random.default_rng(0).standard_normal((50, 8)) * np.arange(1, 9)
    points = prepare_points(vectors, ClusteringConfig(normalize=False, pca_components=3, whiten=True))
    np.testing.assert_allclose(np.cov(points.T), np.eye(3), atol=1e-4)
    assert np.allclose(np.linalg.norm(prepare_points(vectors, ClusteringConfig()), axis=1), 1)


def test_confidence_is_high_at_the_center_and_zero_on_the_border():
    points = np.array([[0.0], [0.0], [0.0], [10.0], [10.0], [4.9]])
    sure = confidence_of(points, np.array([0, 0, 0, 1, 1, 0]))
    assert sure[3] == 1 and sure[0] > 0.8 and sure[5] < 0.3
    assert confidence_of(points, np.zeros(6, dtype=int)).tolist() == [1.0] * 6


def test_only_hidden_attributes_get_a_cluster_and_machines_do_not_mix():
    rng = np.random.default_rng(0)
    fans, fan_truth = blobs(rng, (15, 15))
    pumps, pump_truth = blobs(rng, (10, 10, 10))
    known = rows_of("valve", rng.standard_normal((6, 12)), ["speed=1"] * 6)
    rows = rows_of("fan", fans, [None] * 30) + known + rows_of("pump", pumps, [None] * 30)
    dataset = assign_pseudo_attributes(Dataset.from_list(rows), ClusteringConfig(max_clusters=8))
    assert dataset["clip_id"] == [row["clip_id"] for row in rows]
    named = dict(zip(dataset["clip_id"], dataset["pseudo_attribute"], strict=True))
    sure = dict(zip(dataset["clip_id"], dataset["pseudo_attribute_confidence"], strict=True))
    assert all(named[row["clip_id"]] is None and sure[row["clip_id"]] is None for row in known)
    assert all(0 < sure[f"fan-{i}"] <= 1 for i in range(30))
    truth = {f"fan-{i}": str(label) for i, label in enumerate(fan_truth)}
    truth |= {f"pump-{i}": str(label) for i, label in enumerate(pump_truth)}
    quality = cluster_quality(dataset, truth)
    assert quality["fan"]["ari"] == 1.0 and quality["fan"]["num_clusters"] == 2
    assert quality["pump"]["nmi"] == pytest.approx(1.0) and quality["pump"]["num_clusters"] == 3
    assert quality["fan"]["purity"] == 1.0 and "valve" not in quality


def test_quality_against_figures_worked_out_by_hand():
    names = ["a", "a", "a", "b", "b", "b"]
    rows = [{"machine": "fan", "clip_id": str(i), "pseudo_attribute": name} for i, name in enumerate(names)]
    truth = dict(zip("012345", "xxyyyy", strict=True))
    quality = cluster_quality(Dataset.from_list(rows), truth)["fan"]
    assert quality["purity"] == pytest.approx(5 / 6)
    # Pairs: 4 in both, 6 in one cluster, 7 with one label, of 15.
    assert quality["ari"] == pytest.approx((4 - 6 * 7 / 15) / ((6 + 7) / 2 - 6 * 7 / 15))


def test_quality_without_labels():
    vectors, truth = blobs(np.random.default_rng(0), (20, 20, 20))
    noise = np.random.default_rng(0).standard_normal((60, 12))

    def three(points):
        return clusters_of(points, num_clusters=3)

    assert label_free_quality(vectors, truth) == pytest.approx(silhouette_samples(vectors, truth).mean())
    assert label_free_quality(vectors, np.zeros(60, dtype=int)) is None
    assert stability(vectors, three) == 1.0 and stability(noise, three) < 0.8


def test_the_order_of_rows_does_not_change_the_clusters():
    vectors, _ = blobs(np.random.default_rng(3), (9, 14, 21), spread=0.6)
    order = np.random.default_rng(4).permutation(len(vectors))
    assert adjusted_rand_score(clusters_of(vectors)[order], clusters_of(vectors[order])) == 1.0


def test_names_are_written_edited_and_read_back(tmp_path):
    rng = np.random.default_rng(0)
    vectors, truth = blobs(rng, (12, 9, 6, 3))
    domains = ["source"] * 27 + ["target"] * 3
    dataset = Dataset.from_list(rows_of("fan", vectors, [None] * 30, domains))
    clusters = describe_clusters(assign_pseudo_attributes(dataset, ClusteringConfig(num_clusters=4)))
    assert [row["clips"] for row in clusters] == [12, 9, 6, 3] and clusters[3]["target"] == 3
    assert [row["name"] for row in clusters] == [f"cluster={i}" for i in range(4)]
    center = np.linalg.norm(prepare_points(vectors[:12], ClusteringConfig()), axis=1)
    assert set(clusters[0]["medoids"]) <= {f"fan-{i}" for i in range(12)} and len(center) == 12

    path = write_names(clusters, tmp_path / "clusters.csv")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["name"] = {"0": "idle", "1": "full load, Süd", "2": "idle", "3": "new room"}[row["cluster"]]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    config = ClusteringConfig(num_clusters=4, names_file=str(path))
    named = assign_pseudo_attributes(dataset, config)["pseudo_attribute"][:]
    wanted = np.array(["idle", "full load, Süd", "idle", "new room"])[truth]
    assert named == wanted.tolist()

    with pytest.raises(ValueError, match="was written for other clusters of fan"):
        assign_pseudo_attributes(dataset, ClusteringConfig(num_clusters=3, names_file=str(path)))
    path.write_text("machine,cluster,clips\nfan,0,12\n")
    with pytest.raises(ValueError, match="has no column name"):
        read_names(path)
    path.write_text("machine,cluster,name,clips\nfan,0,idle,12\nfan,0,idle,12\n")
    with pytest.raises(ValueError, match="line 3: accepted are a name, and each cluster once"):
        read_names(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters is 0"),
        ({"max_clusters": 1}, "max_clusters is 1"),
        ({"method": "single"}, "method is 'single'; accepted are ward"),
        ({"domains": "both"}, "domains is 'both'; accepted are together"),
        ({"whiten": True}, "give pca_components as well"),
        ({"num_clusters": 3, "distance_threshold": 1.0}, "are both given"),
        ({"method": "kmeans", "distance_threshold": 1.0}, "with method 'kmeans'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClusteringConfig(**options)
