import base64
import io
import re
import shutil
import subprocess
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from datasets import Dataset

from hf_asd import AnomalyDetector, ClusteringConfig, assign_pseudo_attributes, load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.cli import main
from hf_asd.data.schema import dataset_from_rows, side_by_side
from hf_asd.embedding.embed import embed
from hf_asd.embedding.statistics import SpectralStatistics
from hf_asd.metrics.official_score import score_table
from hf_asd.plotting.spectrogram import band_text
from hf_asd.reporting.clusters import cluster_report
from hf_asd.reporting.report import ReportContent, write_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for split, condition, count in (("train", "normal", 8), ("test", "normal", 4), ("test", "anomaly", 4)):
        (tmp_path / "fan" / split / condition).mkdir(parents=True)
        for clip in range(count):
            samples = 0.1 * rng.standard_normal(16_000)
            if condition == "anomaly":
                samples = samples + 0.3 * np.sin(np.arange(16_000))
            soundfile.write(tmp_path / "fan" / split / condition / f"{clip}<b>.wav", samples, 16_000)
    return tmp_path / "fan"


@pytest.fixture(scope="module")
def detector(folder):
    return AnomalyDetector().fit(load_folder(folder / "train"))


@pytest.fixture(scope="module")
def scored(folder, detector):
    return detector.score(load_folder(folder)["test"], explain=True)


def visible_text(path):
    html = path.read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))


def assert_self_contained(path):
    html = path.read_text(encoding="utf-8")
    for source in re.findall(r"""(?:src|href|url)=["']([^"']+)""", html):
        assert source.startswith(("data:", "#")), source[:80]
    assert "<b>.wav" not in html  # names are escaped
    assert len(html) < 8e6


@pytest.mark.slow
def test_report_of_labeled_recordings(folder, detector, tmp_path):
    dataset = load_folder(folder)
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
        detector=detector,
        read_clip=read_clip,
        max_clips=3,
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
    assert html.count("data:image/svg+xml") >= 4 + 4  # scores, ROC, two maps, spectrograms
    assert 'alt="Receiver operating characteristic"' in html


@pytest.mark.slow
def test_report_of_a_fit_without_new_recordings(folder, detector, tmp_path):
    train = load_folder(folder / "train")["train"]
    content = ReportContent(title="fan", train=train, detector=detector, max_clips=2)
    path = write_report(tmp_path / "report.html", content)
    assert_self_contained(path)
    text = visible_text(path)
    assert "8 normal recordings of 1 machine; no new recordings yet" in text
    assert "Most unusual normal recordings" in text and "Official scores" not in text


@pytest.mark.slow
def test_report_of_recordings_that_nobody_labeled(folder, detector, tmp_path):
    test = load_folder(folder)["test"].map(lambda row: {"condition": "unknown"})
    scored = detector.score(test)
    path = write_report(tmp_path / "report.html", ReportContent(title="new", test=scored, max_clips=2))
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


def scored_rows(path, scores):
    """By machine scores and decisions, as a scored dataset; each row has the same recording."""
    rows = []
    for machine, clips in scores.items():
        for number, (score, is_anomaly) in enumerate(clips):
            row = {"path": path, "machine": machine, "clip_id": f"{machine}/{number}", "split": "test"}
            rows.append((row, score, is_anomaly))
    dataset = dataset_from_rows([row for row, _, _ in rows])
    decided = {
        "anomaly_score": [score for _, score, _ in rows],
        "z_score": [score for _, score, _ in rows],
        "threshold": [2.0] * len(rows),
        "p_value": [0.1] * len(rows),
        "is_anomaly": [flag for _, _, flag in rows],
        "is_unusual": [None if flag is None else score == 1.5 for _, score, flag in rows],
        "num_normal_as_high": [0] * len(rows),
        "num_normal_clips": [10] * len(rows),
        "abstain_reason": ["silent" if flag is None else None for _, _, flag in rows],
        "nearest_clip_id": [""] * len(rows),
    }
    return side_by_side(dataset, Dataset.from_dict(decided))


def test_machines_stand_in_the_order_of_their_urgency(folder, tmp_path):
    """Anomalies before unusual recordings, before recordings without a decision, before normal ones."""
    file = next((folder / "train" / "normal").iterdir())
    scores = {
        "calm": [(0.1, False), (0.2, False)],
        "odd": [(1.5, False), (0.1, False)],
        "off": [(40.0, None), (0.1, False)],
        "bad": [(9.0, True), (60.0, None), (0.1, False)],
        "worse": [(0.3, False), (20.0, True)],
    }
    test = scored_rows(file, scores)
    path = write_report(tmp_path / "report.html", ReportContent(title="plant", test=test, max_clips=10))
    html = path.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(\w+)</h2>", html) == ["worse", "bad", "odd", "off", "calm"]
    text = visible_text(path)
    assert text.index("2 of 11 recordings are anomalies, on 2 of 5 machines.") < text.index("Machines by urgency")
    # What a recording without a decision scored tells nothing: it comes after the anomaly, without its score.
    section = html[html.index("<h2>bad</h2>") :]
    assert section.index("anomaly") < section.index("no decision") and "score 60" not in html


def test_each_clip_shows_where_it_differs_and_is_played_at_one_volume(folder, detector, scored, tmp_path):
    train = load_folder(folder / "train")["train"]
    content = ReportContent(title="fan", train=train, test=scored, detector=detector, max_clips=2)
    path = write_report(tmp_path / "report.html", content)
    assert_self_contained(path)
    html = path.read_text(encoding="utf-8")
    card = html[html.index('<div class="clip">') :]
    picture = unquote(unescape(re.search(r'<img src="(data:image/svg[^"]+)"', card)[1]))
    first = scored[int(np.argmax(scored["anomaly_score"][:]))]["reasons"][0]
    assert first["low_hz"] and band_text(first["low_hz"], first["high_hz"]) in picture, "the band is marked"
    assert picture.count("data:image/webp") == 2, "levels, and the score map over them"
    sounds = [base64.b64decode(found) for found in re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', html)]
    levels = [soundfile.read(io.BytesIO(content))[0] for content in sounds]
    # A recording and the normal one beside it: the tone of 0.3 over noise of 0.1 is 7.4 dB above the noise alone.
    decibels = 20 * np.log10(np.std(levels[0]) / np.std(levels[1]))
    assert decibels == pytest.approx(10 * np.log10((0.3**2 / 2 + 0.1**2) / 0.1**2), abs=1.0)
    assert np.abs(levels).max() <= 1


def test_pictures_and_sounds_are_loaded_when_they_are_needed(detector, scored, tmp_path):
    content = ReportContent(title="fan", test=scored, detector=detector, max_clips=3)
    path = write_report(tmp_path / "report.html", content)
    html = path.read_text(encoding="utf-8")
    images, sounds = re.findall(r"<img [^>]*>", html), re.findall(r"<audio [^>]*>", html)
    assert len(sounds) == 3 and all('preload="none"' in sound and "aria-label=" in sound for sound in sounds)
    assert len(images) >= 4 and all('loading="lazy"' in image and re.search('alt="[^"]+"', image) for image in images)
    assert "content-visibility: auto" in html and "prefers-color-scheme: dark" in html


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")
def test_a_report_is_printed_with_its_cards_whole(detector, scored, tmp_path):
    content = ReportContent(title="fan", test=scored, detector=detector, max_clips=5)
    path = write_report(tmp_path / "report.html", content)
    printed = tmp_path / "report.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--no-pdf-header-footer", f"--print-to-pdf={printed}"]
    subprocess.run([CHROMIUM, *options, path.as_uri()], check=True, capture_output=True, timeout=120)
    pages = re.findall(rb"/Type\s*/Page\b", printed.read_bytes())
    # The header, and five cards, which are not cut: at least two of them have room on a page.
    assert 2 <= len(pages) <= 4
    assert ".clip, figure, tr, dl, .messages li { break-inside: avoid; }" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_score_writes_a_report_of_the_new_recordings(folder, detector, tmp_path, capsys):
    """Also of a long recording, whose worst window is shown, and of one that cannot be read."""
    saved, new, page = detector.save_pretrained(tmp_path / "detector"), tmp_path / "new", tmp_path / "page.html"
    new.mkdir()
    rng = np.random.default_rng(4)
    long = 0.1 * rng.standard_normal(5 * 16_000)
    long[3 * 16_000 : 4 * 16_000] += 0.3 * np.sin(np.arange(16_000))
    soundfile.write(new / "long.wav", long, 16_000)
    soundfile.write(new / "normal.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    (new / "broken.wav").write_bytes(b"RIFF")
    options = ["--on-bad-audio", "skip", "--report", str(page)]
    assert main(["score", str(saved), str(new), *options]) == 0
    assert_self_contained(page)
    text = visible_text(page)
    assert "1 of 2 recordings is an anomaly." in text and "anomaly at 0:00:03-0:00:04" in text
    assert "broken.wav" in text and "They were compared with 8 normal recordings" in text
    capsys.readouterr()
    for name, words in (("-", "give a file"), (str(tmp_path), "is a folder"), (str(page / "x.html"), "--report")):
        assert main(["score", str(saved), str(new), "--on-bad-audio", "skip", "--report", name]) == 2
        assert words in capsys.readouterr().err


def test_normal_recordings_fill_few_cards(folder, tmp_path):
    """All anomalies are shown, however many; a machine without any shows eight recordings."""
    file = next((folder / "train" / "normal").iterdir())
    scores = {"bad": [(5.0, True)] * 10 + [(0.1, False)] * 5, "calm": [(0.1, False)] * 12}
    content = ReportContent(title="plant", test=scored_rows(file, scores), max_clips=100)
    html = write_report(tmp_path / "report.html", content).read_text(encoding="utf-8")
    calm = html.index("<h2>calm</h2>")
    assert html[:calm].count("<audio") == 10 and html[calm:].count("<audio") == 8
