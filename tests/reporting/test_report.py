import re

import numpy as np
import pytest
import soundfile
from datasets import Dataset

from hf_asd import AnomalyDetector, ClusteringConfig, assign_pseudo_attributes, load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.embedding.embed import embed
from hf_asd.embedding.statistics import SpectralStatistics
from hf_asd.metrics.official_score import score_table
from hf_asd.reporting.clusters import cluster_report
from hf_asd.reporting.report import ReportContent, write_report


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, condition, count in (("train", "normal", 8), ("test", "normal", 4), ("test", "anomaly", 4)):
        (tmp_path / "fan" / split / condition).mkdir(parents=True)
        for clip in range(count):
            samples = 0.1 * rng.standard_normal(16_000)
            if condition == "anomaly":
                samples = samples + 0.3 * np.sin(np.arange(16_000))
            soundfile.write(tmp_path / "fan" / split / condition / f"{clip}<b>.wav", samples, 16_000)
    return tmp_path / "fan"


def visible_text(path):
    html = path.read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))


def assert_self_contained(path):
    html = path.read_text(encoding="utf-8")
    for source in re.findall(r"""(?:src|href)=["']([^"']+)""", html):
        assert source.startswith(("data:", "#")), source[:80]
    assert "<b>.wav" not in html  # names are escaped
    assert len(html) < 8e6


@pytest.mark.slow
def test_report_of_labeled_recordings(folder, tmp_path):
    dataset = load_folder(folder)
    detector = AnomalyDetector().fit(dataset)
    train = embed(dataset["train"], SpectralStatistics())
    test = detector.score(dataset["test"])
    evaluation = score_table(
        labels=[condition == "anomaly" for condition in test["condition"]],
        scores=test["anomaly_score"][:],
        machines=test["machine"][:],
        sections=test["section"][:],
        domains=["source", "target"] * 4,
    )
    reads = []

    def read_clip(row):
        reads.append(row["clip_id"])
        return read_audio(row["audio"])

    content = ReportContent(
        title="Fan & co",
        train=train,
        test=test,
        evaluation=evaluation,
        baselines={"mean log-mel": evaluation},
        skipped=["broken.wav: is empty, it holds no samples."],
        thresholds={"fan": detector.machines["fan"].threshold},
        profiles=detector.profiles,
        deviations={"fan": detector.machines["fan"].deviations},
        read_clip=read_clip,
    )
    path = write_report(tmp_path / "report.html", content)
    assert reads and len(set(reads)) == len(reads), "each clip is read once"
    assert_self_contained(path)
    text = visible_text(path)
    most_anomalous = int(np.argmax(test["anomaly_score"][:]))
    reasons = detector.score(dataset["test"].select([most_anomalous]), explain=True)["reasons"][0]
    assert reasons and all(reason["text"] in text for reason in reasons)
    found = sum(
        flag for flag, condition in zip(test["is_anomaly"], test["condition"], strict=True) if condition == "anomaly"
    )
    for words in (
        f"{found} of 4 faults were found",
        "Official score: mean log-mel",
        f"{100 * evaluation['official_score']:.1f}",
        "broken.wav: is empty",
        "Most anomalous recordings",
        "Nearest normal recording",
        "Fan &amp; co",
    ):
        assert words in text
    html = path.read_text(encoding="utf-8")
    assert html.count("data:image/svg+xml") >= 4 + 4  # histogram, ROC, two maps, spectrograms
    assert 'alt="Receiver operating characteristic"' in html


@pytest.mark.slow
def test_report_of_a_fit_without_new_recordings(folder, tmp_path):
    dataset = load_folder(folder / "train")
    detector = AnomalyDetector().fit(dataset)
    bank = detector.machines["fan"]
    content = ReportContent(
        title="fan",
        train=dataset["train"],
        thresholds={"fan": bank.threshold},
        leave_one_out={"fan": bank.leave_one_out_scores()},
    )
    path = write_report(tmp_path / "report.html", content)
    assert_self_contained(path)
    text = visible_text(path)
    assert "8 normal recordings of 1 machine; no new recordings yet" in text
    assert "Most unusual normal recordings" in text and "Official scores" not in text


@pytest.mark.slow
def test_report_of_recordings_that_nobody_labeled(folder, tmp_path):
    detector = AnomalyDetector().fit(load_folder(folder / "train"))
    test = load_folder(folder)["test"].map(lambda row: {"condition": "unknown"})
    scored = detector.score(test)
    path = write_report(tmp_path / "report.html", ReportContent(title="new", test=scored))
    assert_self_contained(path)
    alarms = sum(scored["is_anomaly"])
    assert alarms >= 4
    assert f"{alarms} of 8 recordings are anomalies" in visible_text(path)


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a report needs train"):
        write_report(tmp_path / "report.html", ReportContent(title=""))


@pytest.mark.parametrize("num_clusters", [1, 3])
def test_clusters_are_drawn_and_can_be_played(folder, tmp_path, num_clusters):
    dataset = load_folder(folder)
    train = embed(dataset["train"], SpectralStatistics())
    hidden = Dataset.from_list([row | {"attribute_label": None} for row in train.to_list()])
    config = ClusteringConfig(num_clusters=num_clusters)
    rows = assign_pseudo_attributes(hidden, config)
    found = cluster_report(rows, config)
    assert len(found["fan"]["clusters"]) == num_clusters and 0 <= found["fan"]["stability"] <= 1
    assert (found["fan"]["silhouette"] is None) == (num_clusters == 1)
    path = write_report(tmp_path / "report.html", ReportContent(title="Fan", train=rows, clusters=found))
    assert_self_contained(path)
    assert path.read_text().count("<audio") == num_clusters
    text = visible_text(path)
    assert "Clusters of normal recordings" in text and "cluster=0" in text
    assert ("Mean silhouette" in text) == (num_clusters == 3)
