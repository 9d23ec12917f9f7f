import json

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_asd import AnomalyDetector, DetectorConfig
from hf_asd.cli import main
from hf_asd.data.schema import write_table
from hf_asd.detection.backends.references import k_center_rows
from hf_asd.detection.compact import compact, compact_folder
from hf_asd.embedding.band_statistics import STATISTICS_SIZE


def rows(rng, count, shift=0.0, conditions=("normal",), dimensions=STATISTICS_SIZE):
    """Clips of one machine with two operating states, described by random embeddings."""
    state = np.arange(count) % 2
    vectors = rng.standard_normal((count, dimensions)) + 8 * state[:, None] + shift
    columns = {
        "machine": ["fan"] * count,
        "section": ["00"] * count,
        "domain": ["source", "target"] * (count // 2),
        "condition": [conditions[index // 2 % len(conditions)] for index in range(count)],
        "clip_id": [f"{shift}-{index}" for index in range(count)],
        "embedding": vectors.astype(np.float32).tolist(),
    }
    return Dataset.from_dict(columns)


@pytest.fixture
def detector():
    return AnomalyDetector().fit(rows(np.random.default_rng(0), 60))


def test_k_centers_cover_the_bank():
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(200, 3, generator=generator)
    chosen = k_center_rows(bank, 20)
    assert len(set(chosen)) == 20 and chosen == sorted(chosen)
    # What is chosen next lies as far from the chosen ones as any clip does.
    radius = torch.cdist(bank, bank[chosen]).amin(1).max()
    more = k_center_rows(bank, 21)
    separation = (torch.cdist(bank[more], bank[more]) + torch.eye(21) * 9).min()
    assert radius <= separation + 1e-6
    assert radius < torch.cdist(bank, bank[:20]).amin(1).max(), "better than the first twenty"
    assert k_center_rows(bank[:5], 20) == [0, 1, 2, 3, 4]


def test_half_precision_and_fewer_references_survive_saving_to_the_bit(detector, tmp_path):
    folder = detector.save_pretrained(tmp_path / "full")
    small = compact(detector, "float16", num_references=10)
    size = (small.save_pretrained(tmp_path / "small") / "memory_bank.safetensors").stat().st_size
    assert size < 0.2 * (folder / "memory_bank.safetensors").stat().st_size
    loaded = AnomalyDetector.from_pretrained(tmp_path / "small")
    assert loaded.bank_dtype == torch.float16
    again = AnomalyDetector.from_pretrained(loaded.save_pretrained(tmp_path / "again"))
    new = rows(np.random.default_rng(1), 20)
    scores = small.score(new)["anomaly_score"][:]
    assert scores == loaded.score(new)["anomaly_score"][:] == again.score(new)["anomaly_score"][:]
    assert len(small.machines["fan"].normal_scores) == 60, "the dropped clips still tell what is normal"
    assert set(loaded.machines["fan"].leave_one_out_scores()) <= set(detector.machines["fan"].leave_one_out_scores())


def test_float16_alone_changes_next_to_nothing(detector):
    new = rows(np.random.default_rng(1), 40, shift=1.0)
    full, half = (one.score(new)["anomaly_score"][:] for one in (detector, compact(detector, "float16")))
    assert full != half and half == pytest.approx(full, rel=1e-2, abs=1e-2)  # in standard deviations


@pytest.mark.slow
def test_the_promised_false_alarm_rate_holds_with_fewer_references():
    rng, alarms = np.random.default_rng(0), []
    for _ in range(10):
        config = DetectorConfig(false_alarm_rate=0.1)
        full = AnomalyDetector(config=config).fit(rows(rng, 200, dimensions=8))
        alarms += compact(full, num_references=30).score(rows(rng, 200, dimensions=8))["is_anomaly"][:]
    assert np.mean(alarms) == pytest.approx(0.1, rel=0.35)


def test_what_it_costs_is_measured_and_told(detector, tmp_path, capsys):
    folder = detector.save_pretrained(tmp_path / "full")
    test = detector.score(rows(np.random.default_rng(2), 80, shift=0.3, conditions=("normal", "anomaly")))
    table = write_table(test, tmp_path / "test.parquet")
    options = ["--dtype", "float16", "--num-references", "5"]
    assert main(["compact", str(folder), "--output", str(tmp_path / "small"), *options, "--test", str(table)]) == 0
    told = json.loads((tmp_path / "small" / "compact.json").read_text())
    before, after = (f"{100 * score:.2f}" for score in told["official_score"])
    assert f"official score 2025: {before} -> {after} %" in capsys.readouterr().out
    assert told["references"] == [60, 10] and told["bytes"][1] < told["bytes"][0] / 5
    assert told["difference"] == pytest.approx(told["official_score"][1] - told["official_score"][0])
    card = (tmp_path / "small" / "README.md").read_text()
    for words in ("60 normal recordings were reduced to 10", "in float16", f"changed from {before} to {after} %"):
        assert words in card, words
    compact_folder(folder, tmp_path / "unmeasured", dtype="float16")
    assert "The effect on the official score was not measured." in (tmp_path / "unmeasured" / "README.md").read_text()


def test_refusals(detector, tmp_path):
    with pytest.raises(ValueError, match="dtype is 'int8'; accepted are float32, float16"):
        compact(detector, "int8")
    with pytest.raises(ValueError, match="num_references is 0"):
        compact(detector, num_references=0)
    loud = AnomalyDetector().fit(rows(np.random.default_rng(0), 20, shift=1e5))
    with pytest.raises(ValueError, match="fan: has embeddings above what torch.float16 can hold"):
        compact(loud, "float16")
    folder = detector.save_pretrained(tmp_path / "full")
    with pytest.raises(ValueError, match="the detector's own folder"):
        compact_folder(folder, folder)
