import io

import matplotlib
import numpy as np
import pytest
import soundfile
from matplotlib.colors import to_hex, to_rgb
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.data.schema import dataset_from_rows
from hf_asd.plotting.style import THEMES


THEME = THEMES["light"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of twelve normal recordings of 1 s."""
    folder, rng = tmp_path_factory.mktemp("clips") / "fan", np.random.default_rng(0)
    folder.mkdir()
    for clip in range(12):
        soundfile.write(folder / f"{clip:02d}.wav", hum(rng), RATE)
    return folder


@pytest.fixture(scope="module")
def detector(recordings):
    return AnomalyDetector().fit(load_folder(recordings))


@pytest.fixture(scope="module")
def whistle():
    """A recording with a tone of 3 kHz in its second half."""
    samples = hum(np.random.default_rng(7)).astype(np.float32)
    half = len(samples) // 2
    samples[half:] += 0.2 * np.sin(2 * np.pi * 3000 * np.arange(len(samples) - half) / RATE).astype(np.float32)
    return samples


def texts(figure) -> str:
    parts = [figure, *figure.subfigs]
    found = [text.get_text() for part in parts for text in part.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [label.get_text() for label in (*axes.get_yticklabels(), axes.xaxis.label)]
    return "\n".join(found)


def score_axes(figure):
    return next(axes for axes in figure.axes if axes.get_xlabel() == "anomaly score")


def test_an_anomaly_shows_verdict_reasons_and_where_it_differs(detector, whistle):
    decision = detector(whistle, RATE, explain=True)
    assert decision.is_anomaly
    figure = detector.plot(whistle, RATE)
    shown = texts(figure)
    assert f"Anomaly: score {decision.anomaly_score:.3g}, threshold {decision.threshold:.3g}" in shown
    for number, reason in enumerate(decision.reasons, start=1):
        assert f"{number}  {reason.text[:60]}" in shown.replace("\n    ", " ")
    assert any("kHz" in text.get_text() for text in figure.axes[0].texts), "bands are marked with frequencies"
    # The score map is laid over the spectrogram: it is opaque at 3 kHz in the second half, and nearly nowhere else.
    levels, overlay = figure.axes[0].images
    assert levels.get_array().ndim == 2
    opacity = np.asarray(overlay.get_array())[..., 3]
    low, high = overlay.get_extent()[2:]
    row = int((64 * np.log1p(3000 / 700) / np.log1p(8000 / 700) - low) / (high - low) * len(opacity))
    half = opacity.shape[1] // 2
    assert opacity[row, half + 3 : -3].min() > 0.3
    assert np.delete(opacity, [row - 1, row, row + 1], axis=0).mean() < 0.1 > opacity[row, : half - 3].mean()
    colors = np.asarray(overlay.get_array())[row, half + 3, :3]
    np.testing.assert_allclose(colors, to_rgb(THEME.anomaly), atol=1e-6)


def test_the_score_stands_beside_the_normal_ones_with_the_threshold(detector, whistle):
    axes, bank = score_axes(detector.plot(whistle, RATE)), detector.machines["fan"]
    (normal,) = axes.collections
    np.testing.assert_allclose(np.sort(normal.get_offsets()[:, 0]), np.sort(bank.normal_scores))
    single = next(line for line in axes.lines if line.get_marker() == "D")
    assert single.get_xdata() == [detector(whistle, RATE).anomaly_score]
    assert to_hex(single.get_color()) == THEME.anomaly.lower()
    assert any(np.allclose(line.get_xdata(), bank.threshold) for line in axes.lines)
    assert f"threshold {bank.threshold:.3g}" in texts(axes.figure)
    low, high = axes.get_xlim()
    assert low < bank.normal_scores.min() and detector(whistle, RATE).anomaly_score < high


def test_a_normal_recording_is_called_normal(detector):
    samples = hum(np.random.default_rng(3))
    assert detector(samples, RATE).is_anomaly is False
    shown = texts(detector.plot(samples, RATE))
    assert shown.count("Normal: score") + shown.count("Unusual, not enough for an alarm: score") == 1
    assert "of 12 normal recordings" in shown


def test_a_silent_recording_shows_why_there_is_no_decision(detector):
    figure = detector.plot(np.zeros(RATE, dtype=np.float32), RATE)
    assert "No decision: " in texts(figure) and "silent" in texts(figure)


def test_of_a_long_recording_the_worst_window_is_drawn(detector, whistle):
    rng = np.random.default_rng(5)
    samples = np.concatenate([hum(rng), hum(rng), whistle, hum(rng)]).astype(np.float32)
    figure = detector.plot(samples, RATE)
    decision = detector(samples, RATE)
    assert decision.is_anomaly and decision.worst_window_start_s == pytest.approx(2 * len(whistle) / RATE)
    start, end = figure.axes[0].get_xlim()
    assert (start, end) == pytest.approx((decision.worst_window_start_s, decision.worst_window_end_s))


def test_files_and_their_content_give_the_same_figure(detector, recordings):
    file = recordings / "03.wav"
    with file.open("rb") as opened:
        figures = [detector.plot(file), detector.plot(file.read_bytes()), detector.plot(opened)]
    levels = [np.asarray(figure.axes[0].images[0].get_array()) for figure in figures]
    np.testing.assert_array_equal(levels[0], levels[1])
    np.testing.assert_array_equal(levels[0], levels[2])


def test_scores_are_drawn_by_machine_and_label(detector, recordings, whistle):
    rng = np.random.default_rng(2)
    clips = [hum(rng), hum(rng), whistle]
    decisions = [detector(clip, RATE) for clip in clips]
    axes = score_axes(detector.plot_scores(decisions))
    assert "12 normal" in texts(axes.figure) and "3 new" in texts(axes.figure)
    new = axes.collections[1]
    np.testing.assert_allclose(new.get_offsets()[:, 0], [decision.anomaly_score for decision in decisions])
    assert to_hex(new.get_facecolors()[2]) == THEME.anomaly.lower()

    rows = [
        {
            "path": recordings / f"0{clip}.wav",
            "machine": "fan",
            "clip_id": str(clip),
            "split": "test",
            "condition": name,
        }
        for clip, name in enumerate(("normal", "normal", "anomaly"))
    ]
    scored = detector.score(dataset_from_rows(rows))
    shown = texts(detector.plot_scores(scored))
    assert "2 new, normal" in shown and "1 new, anomaly" in shown
    with pytest.raises(ValueError, match="lacks anomaly_score"):
        detector.plot_scores(scored.remove_columns("anomaly_score"))


def test_matplotlib_is_left_as_it_was_and_no_window_is_needed(detector, whistle):
    before = dict(matplotlib.rcParams)
    figure = detector.plot(whistle, RATE, theme="dark")
    assert dict(matplotlib.rcParams) == before
    assert to_hex(figure.get_facecolor()) == THEMES["dark"].paper.lower()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="theme is 'night'"):
        detector.plot(whistle, RATE, theme="night")


def test_embeddings_without_a_map_are_drawn_without_one(recordings, whistle):
    detector = AnomalyDetector(None, DetectorConfig(statistics="mean")).fit(load_folder(recordings))
    assert len(detector.plot(whistle, RATE).axes[0].images) == 1
