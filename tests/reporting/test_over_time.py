"""The report's sessions: scores over time, drift, a slow trend, and verdicts."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from datasets import Dataset
from matplotlib.colors import same_color, to_hex
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.detection.verdicts import give_verdict
from hf_asd.embedding.band_statistics import DECIBELS, STATISTICS_SIZE
from hf_asd.plotting.style import THEMES
from hf_asd.plotting.timeline import SessionColumn, TrendLine, timeline_figure
from hf_asd.reporting.machine_rows import MachineRows
from hf_asd.reporting.timeline import UNKNOWN_SESSION, make_timeline
from hf_asd.reporting.verdict_rows import verdict_content


LIGHT = THEMES["light"]


def recordings(rng: np.random.Generator, count: int, clips: int = 6, shift: float = 0.0) -> np.ndarray:
    """Embeddings of days, shape `(days, clips, dimensions)`: levels that differ by 1 dB from day to day."""
    level = rng.normal(0, 1, (count, 1, 1, 1)) + shift + rng.normal(0, 1, (count, clips, 1, 1))
    noise = 0.7 * rng.standard_normal((count, clips, 3, 31)) + level
    embeddings = rng.standard_normal((count, clips, STATISTICS_SIZE))
    embeddings[..., :93] = (noise - 40).reshape(count, clips, -1) / DECIBELS
    return embeddings.astype(np.float32)


def dataset(embeddings: np.ndarray, names: list[str | None], files: str = "fan_{day}_{clip}.wav") -> Dataset:
    days, clips, _ = embeddings.shape
    paths = [files.format(day=day, clip=clip) for day in range(days) for clip in range(clips)]
    return Dataset.from_dict(
        {
            "audio": [{"path": path, "bytes": None} for path in paths],
            "embedding": embeddings.reshape(days * clips, -1),
            "machine": ["fan"] * len(paths),
            "domain": ["unknown"] * len(paths),
            "condition": ["unknown"] * len(paths),
            "session": [name for name in names for _ in range(clips)],
            "clip_id": paths,
        }
    )


@pytest.fixture(scope="module")
def detector():
    rows = dataset(recordings(np.random.default_rng(0), 6), [f"2026-11-{day:02d}" for day in range(1, 7)])
    rows = rows.remove_columns(["condition", "audio"])
    return AnomalyDetector(config=DetectorConfig(statistics="band_statistics")).fit(rows)


def scored(detector, embeddings, names, **kwargs) -> MachineRows:
    rows = dataset(embeddings, names, **kwargs)
    embedded = rows["embedding"][:]
    found = detector.score(rows.remove_columns("audio")).to_list()
    test = [
        row | {"audio": audio, "embedding": np.array(embedding, dtype=np.float32)}
        for row, audio, embedding in zip(found, rows["audio"], embedded, strict=True)
    ]
    return MachineRows("fan", [], test, detector)


def with_medians(machine: MachineRows, medians, clips: int = 6) -> MachineRows:
    """The same sessions with other scores."""
    scores = np.repeat(medians, clips) + np.tile(np.linspace(-0.1, 0.1, clips), len(medians))
    threshold = machine.bank.threshold
    rows = [
        row | {"anomaly_score": float(score), "is_anomaly": bool(score > threshold)}
        for row, score in zip(machine.test, scores, strict=True)
    ]
    return replace(machine, test=rows)


DAYS = [f"2026-12-{day:02d}" for day in range(1, 11)]


@pytest.mark.slow
def test_a_slow_rise_is_told_with_its_error_rate_and_a_level_series_is_not(detector):
    machine = scored(detector, recordings(np.random.default_rng(1), 10), DAYS)
    threshold = machine.bank.threshold
    rising = make_timeline(with_medians(machine, np.linspace(0, 0.8 * threshold, 10)))
    assert (rising.num_normal, rising.num_new) == (6, 10)
    assert rising.trend.since == "2026-12-01" and rising.trend.until == "2026-12-10"
    assert (
        rising.first_sentence.startswith("A slow TREND below the threshold") and "at most 1 %" in rising.sentences[1]
    )
    assert rising.drift.is_drift is False and rising.sentences[0].startswith("No drift in 10 sessions")
    level = make_timeline(with_medians(machine, [0.1, 0.3, 0.2, 0.15, 0.25, 0.2, 0.1, 0.3, 0.2, 0.15]))
    assert level.trend is None and level.first_sentence is None and len(level.sentences) == 1


def test_a_moved_microphone_is_said_first_and_drawn_from_its_session(detector):
    rng = np.random.default_rng(2)
    moved = np.concatenate([recordings(rng, 6), recordings(rng, 4, shift=-12.0)])
    found = make_timeline(scored(detector, moved, DAYS))
    assert found.first_sentence.startswith("DRIFT since 2026-12-07: 24 recordings of 4 sessions")
    assert "was the microphone moved" in found.sentences[0]


def test_long_recordings_have_a_trend_but_no_drift(detector):
    machine = scored(detector, recordings(np.random.default_rng(1), 10), DAYS)
    rising = with_medians(machine, np.linspace(0, 0.8 * machine.bank.threshold, 10))
    rising = replace(rising, test=[row | {"num_windows": 3} for row in rising.test])
    found = make_timeline(rising)
    assert found.drift is None and found.trend is not None and len(found.sentences) == 1


def test_sessions_are_in_the_order_of_their_times(detector, monkeypatch):
    drawn = {}

    def draw(normal, new, *args):
        drawn["normal"], drawn["new"] = [one.name for one in normal], {one.name: one.scores for one in new}
        return timeline_figure(normal, new, *args)

    monkeypatch.setattr("hf_asd.reporting.timeline.timeline_figure", draw)
    files = "fan_2026121{day}-0{clip}0000.wav"
    machine = scored(detector, recordings(np.random.default_rng(3), 3, 2), ["zebra", "apple", None], files=files)
    reversed_rows = replace(machine, test=machine.test[::-1])
    assert make_timeline(reversed_rows).num_new == 3
    assert list(drawn["new"]) == ["zebra", "apple", UNKNOWN_SESSION]
    assert drawn["normal"] == [f"2026-11-0{day}" for day in range(1, 7)]
    first = [row["anomaly_score"] for row in machine.test[:2]]
    assert drawn["new"]["zebra"].tolist() == first  # within a session as well


def test_no_plot_where_the_days_of_the_recordings_are_not_known(detector):
    machine = scored(detector, recordings(np.random.default_rng(3), 1, 3), [None])
    assert make_timeline(machine) is None
    told = [row | {"time": "2026-12-24T10:00:00.000Z", "time_from": "start"} for row in machine.test]
    assert make_timeline(replace(machine, test=told)).num_new == 1
    assert make_timeline(replace(machine, test=[])).num_new == 0  # the normal recordings alone, of six days
    assert make_timeline(MachineRows("fan", [], machine.test)) is None


def test_silent_recordings_are_not_drawn_and_others_without_a_decision_are(detector):
    machine = scored(detector, recordings(np.random.default_rng(4), 2, 3), DAYS[:2])
    reasons = ["silent: no sound", "machine off: quieter than every normal clip", None] * 2
    rows = [
        row | {"abstain_reason": reason, "is_anomaly": False if reason is None else None}
        for row, reason in zip(machine.test, reasons, strict=True)
    ]
    assert make_timeline(replace(machine, test=rows)).num_undecided == 2


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_the_figure_shows_decisions_by_shape_and_color(theme):
    normal = [SessionColumn("a", np.array([0.0, 1.0])), SessionColumn("b", np.array([0.5]))]
    new = [
        SessionColumn("c", np.array([0.2, 3.0, 1.0]), [False, True, None], 1.0),
        SessionColumn("d", np.array([0.4]), [False], 0.4),
    ]
    figure = timeline_figure(normal, new, 2.0, theme, TrendLine(0, 1, 0.2, 0.4), drift_from=1)
    (axes,) = figure.axes
    dots = {to_hex(one.get_edgecolor()[0]): one for one in axes.collections if len(one.get_offsets())}
    assert set(dots) == {color.lower() for color in (theme.normal, theme.anomaly, theme.unknown)}
    anomalies = [one for one in axes.collections if same_color(one.get_edgecolor()[0][:3], theme.anomaly)]
    assert [one.get_offsets().tolist() for one in anomalies] == [[[2.0, 3.0]]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "d"]
    texts = [text.get_text() for text in axes.texts]
    assert "threshold\n2" in texts and "normal recordings" in texts and "new recordings" in texts
    low, high = axes.get_ylim()
    assert low < 0 and high > 3


def test_many_sessions_have_room_for_their_names():
    new = [SessionColumn(f"2026-{n:03d}", np.array([0.1]), [False]) for n in range(200)]
    figure = timeline_figure([SessionColumn("normal", np.array([0.0, 1.0]))], new, 2.0, LIGHT)
    named = [label.get_text() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert len(named) <= 16 and named[-1] == "2026-199"


def write(file, sound):
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, sound, RATE)
    return str(file)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A fan's detector, and new recordings of three days: normal ones, a squeal twice, a buzz, and a false alarm."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(8)
    time = np.arange(RATE) / RATE
    for day in (20, 21, 22):
        for number in range(10):
            write(folder / "fan" / f"2026-11-{day}" / f"{number}.wav", hum(rng))
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    for name, tone in {
        "fan_20261123-080000": 0,
        "fan_20261123-090000": 3000,
        "fan_20261124-080000": 0,
        "fan_20261124-090000": 3000,
        "fan_20261125-080000": 5000,
    }.items():
        sound = hum(rng) + (0.05 * np.sin(2 * np.pi * tone * time)).astype(np.float32) * (tone > 0)
        write(folder / "new" / f"{name}.wav", sound)
    detector = AnomalyDetector.from_pretrained(folder / "detector")
    new = folder / "new"
    give_verdict(detector, folder / "detector", new / "fan_20261123-090000.wav", "fault", "blade rub", "fan")
    give_verdict(detector, folder / "detector", new / "fan_20261124-080000.wav", "fault", "by hand 2026-11-26", "fan")
    give_verdict(detector, folder / "detector", new / "fan_20261125-080000.wav", "normal", "forklift <b>", "fan")
    return folder


@pytest.mark.slow
def test_the_page_shows_sessions_and_verdicts(plant, tmp_path):
    page = tmp_path / "page.html"
    assert main(["score", str(plant / "detector"), str(plant / "new"), "--report", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL))
    assert 'alt="Anomaly scores by session"' in html and "medians of sessions" in text
    for words in (
        "1 of 2 confirmed faults raise the alarm; missed: the fault of 2026-11-26: by hand.",
        "1 recording was said to be normal; it counts as normal at the next hf-asd fit --add.",
        "2026-11-26 confirmed fault by hand fan_20261124-080000.wav no alarm, score",
        "2026-11-25 wrong alarm forklift &lt;b&gt; fan_20261125-080000.wav alarm, score",
        "2026-11-23 confirmed fault blade rub fan_20261123-090000.wav alarm, score",
        "like the fault of 2026-11-23: blade rub",
    ):
        assert words in text, words
    # The same fault once more; the verdict's own recording is not named as like it.
    assert re.search(r"blade rub fan_20261123-090000.wav alarm, score [\d.]+ the same fan_20261124-090000.wav ", text)


@pytest.mark.slow
def test_a_wrong_alarm_that_was_learned_is_no_alarm_any_more(plant, tmp_path):
    own = tmp_path / "detector"
    shutil.copytree(plant / "detector", own)
    more = write(tmp_path / "more" / "2026-11-26" / "0.wav", hum(np.random.default_rng(9)))
    assert main(["fit", "--add", str(own), str(tmp_path / "more"), "--output", str(own), "--probe", "false"]) == 0
    assert more
    detector = AnomalyDetector.from_pretrained(own)
    found = verdict_content(MachineRows("fan", [], [], detector))
    assert "1 recording was said to be normal; the detector has learned from it." in found["sentences"]
    (row,) = [row for row in found["rows"] if not row["is_fault"]]
    assert row["then"].startswith("alarm, score") and row["now"] != "the same"
    assert row["now"].partition("score ")[2] == f"{_left_out(detector):.3g}"
    assert verdict_content(MachineRows("fan", [], [])) is None


def _left_out(detector):
    """The score of the learned wrong alarm, compared with the others."""
    scores = detector.machines["fan"].leave_one_out_scores()
    return next(score for name, score in scores.items() if "verdict of" in name)
