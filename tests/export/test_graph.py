"""The graph of a bundle in torch, before it is exported: the same numbers as the package."""

import numpy as np
import pytest
import soundfile
import torch
from small_encoders import small_encoder
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.audio.clipping import clipped_share
from hf_asd.audio.stored_sound import stored_sound
from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.config import ScoringConfig
from hf_asd.export import stored_faults
from hf_asd.export.embeddings import embedding_module
from hf_asd.export.graph import DetectorGraph
from hf_asd.export.scoring import score


@pytest.mark.parametrize(
    "kind", ["statistics", "mean", "eat", "eat of fixed length", "mean of layers", "classifier", "beats"]
)
@pytest.mark.parametrize("samples", [8_000, 24_321])
def test_embeddings_are_those_of_the_package(kind, samples):
    made = small_encoder(kind)
    clips = np.stack([hum(np.random.default_rng(seed), 90 + seed, 2.0)[:samples] for seed in range(3)])
    with torch.inference_mode():
        found = embedding_module(made).eval()(torch.from_numpy(clips)).numpy()
    expected = made(list(clips))
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"with_statistics": True, "encoder_weight": 0.5},
        {"with_statistics": True, "event_share": 0.0},
        {"backends": ("cosine",), "normalization": "ratio", "num_neighbors": 3},
        {"backends": ("euclidean",), "normalization": "log_varmin"},
        {"backends": ("cosine", "euclidean"), "normalization": ("difference", "varmin"), "fusion": "min"},
        {"backends": ("standardized_knn", "max_deviation"), "num_neighbors": 2, "fusion": "max"},
        {"backends": ("pca_residual",), "per_domain_banks": True, "normalization": "z"},
        {"backends": ("cosine",), "per_domain_banks": True, "target": "smote"},
        {"backends": ("mahalanobis",), "num_bands": 4, "band_fusion": "mean_max"},
        {
            "backends": ("euclidean",),
            "num_bands": 2,
            "band_fusion": "z_min",
            "reduction": "k_center",
            "num_references": 9,
        },
    ],
    ids=str,
)
def test_scores_are_those_of_the_package(options):
    rng, size = np.random.default_rng(0), 320
    banks = {
        name: torch.from_numpy(rng.normal(5, 1, (count, size))).float()
        for name, count in (("source", 30), ("target", 8))
    }
    queries = torch.from_numpy(rng.normal(5, 1.3, (7, size))).float()
    for recordings in (None, {"source": np.arange(30) // 3, "target": 10 + np.arange(8) // 2}):
        scorer = make_scorer(banks, ScoringConfig(**options), recordings)
        np.testing.assert_allclose(score(scorer, queries), scorer.score(queries), rtol=1e-6)


def recorder_faults() -> list[np.ndarray]:
    """Clips as recorders spoil them: clipped, with gaps, with few values, padded; and intact ones."""
    rng, clips = np.random.default_rng(0), []
    for number in range(36):
        clip = hum(rng, rng.uniform(50, 400), rng.uniform(0.6, 2.0))
        if number % 6 == 1:
            clip = np.clip(3 * clip, -0.2, 0.2)
        elif number % 6 == 2:
            start = rng.integers(len(clip) - 1500)
            clip[start : start + rng.integers(100, 1500)] = clip[start]
        elif number % 6 == 3:
            clip = np.clip(np.round(clip * 128) / 128, -0.1, 0.1)
        elif number % 6 == 4:
            clip = np.concatenate([np.zeros(rng.integers(1, 6000)), clip, np.zeros(rng.integers(1, 6000))])
        elif number % 6 == 5:
            clip = 0.3 * np.sign(clip) + 0.001 * clip
        clips.append((np.round(clip * 32768) / 32768 if number % 2 else clip).astype(np.float32))
    return [*clips, np.zeros(9000, np.float32), np.full(9000, 0.1, np.float32)]


def test_faults_of_the_recorder_are_those_that_the_package_finds():
    found = {"clipped": 0, "gap": 0}
    for clip in recorder_faults():
        waveform = torch.from_numpy(clip)[None]
        share, gap = clipped_share(clip), stored_sound(clip[:, None], clip, RATE).gap_seconds
        assert stored_faults.clipped_share(waveform).item() == pytest.approx(share, rel=1e-5)
        assert stored_faults.gap_seconds(waveform).item() == pytest.approx(gap, rel=1e-5)
        found["clipped"] += share > 0
        found["gap"] += gap > 0
    assert found["clipped"] >= 6 and found["gap"] >= 5


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Of a machine with recordings of one second whose loudness varies a little."""
    folder, rng = tmp_path_factory.mktemp("fan"), np.random.default_rng(0)
    for number in range(12):
        soundfile.write(folder / f"{number:02d}.wav", hum(rng), RATE)
    return AnomalyDetector().fit(load_folder(folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda clip: clip, None),
        (lambda clip: clip[:9000], "too short"),
        (lambda clip: 1e-6 * clip, "silent"),
        (lambda clip: np.clip(clip, -0.05, 0.05), "clipped"),
        (lambda clip: np.where((np.arange(len(clip)) // 800) == 9, 0, clip), "gap"),
        (lambda clip: 0.2 * clip, "machine off"),
        (lambda clip: _without_high_frequencies(clip), "nothing"),
    ],
)
def test_the_graph_decides_as_the_package(detector, change, reason):
    clip = change(hum(np.random.default_rng(7))).astype(np.float32)
    expected = detector(clip, RATE)
    with torch.inference_mode():
        scores, p_values, decision, no_decision, is_unusual, bands = DetectorGraph(
            detector, next(iter(detector.machines))
        ).eval()(torch.from_numpy(clip)[None])
    assert scores.item() == pytest.approx(expected.anomaly_score, rel=1e-4)
    assert p_values.item() == pytest.approx(expected.p_value)
    assert decision.item() == {True: 1, False: 0, None: -1}[expected.is_anomaly]
    assert is_unusual.item() == bool(expected.is_unusual)
    assert (no_decision.item() > 0) == (expected.abstain_reason is not None) == (reason is not None)
    if reason is not None:
        assert expected.abstain_reason.startswith(reason)
    deviations = detector.machines[next(iter(detector.machines))].deviations.gaussian.deviations_of(
        torch.from_numpy(detector.encoder([clip]))[:, :279]
    )
    assert bands.abs().max().item() == pytest.approx(deviations.abs().max().item(), rel=1e-3)


def _without_high_frequencies(clip: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(clip)
    spectrum[len(spectrum) // 2 :] = 0
    return np.fft.irfft(spectrum, len(clip))
