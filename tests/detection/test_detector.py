import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from sounds import RATE, hum
from transformers import AutoModel

from hf_asd import AnomalyDetector, DetectorConfig, EatConfig, EatFeatureExtractor, TransformerEncoder, load_folder
from hf_asd.data.schema import dataset_from_rows


COLUMNS = ("anomaly_score", "z_score", "p_value", "is_anomaly", "nearest_clip_id", "nearest_clip_ids")


@pytest.fixture
def machine(tmp_path):
    """A folder of twelve healthy recordings and one of four unknown ones, two of which sound wrong."""
    rng = np.random.default_rng(0)
    for folder in ("fan", "new"):
        (tmp_path / folder).mkdir()
    for clip in range(12):
        soundfile.write(tmp_path / "fan" / f"{clip:02d}.wav", hum(rng), RATE)
    for clip, pitch in enumerate((100, 100, 137, 190)):
        soundfile.write(tmp_path / "new" / f"{clip}.wav", hum(rng, pitch), RATE)
    return tmp_path


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    config = EatConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    return TransformerEncoder(AutoModel.from_config(config), EatFeatureExtractor())


@pytest.mark.parametrize("kind", ["statistics", "encoder"])
def test_saved_and_loaded_detector_gives_the_same_bits(machine, encoder, kind):
    detector = AnomalyDetector(encoder if kind == "encoder" else None).fit(load_folder(machine / "fan"))
    new = load_folder(machine / "new")["train"]
    before = detector.score(new)
    folder = detector.save_pretrained(machine / "detector")
    loaded = AnomalyDetector.from_pretrained(folder)
    after = loaded.score(new)
    for column in COLUMNS:
        assert before[column][:] == after[column][:]
    bank, again = detector.machines["fan"], loaded.machines["fan"]
    assert bank.threshold == again.threshold
    np.testing.assert_array_equal(bank.normal_scores, again.normal_scores)
    suffixes = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert suffixes <= {".json", ".safetensors", ".parquet"}


def test_the_statistics_hear_the_wrong_pitch(machine):
    detector = AnomalyDetector().fit(load_folder(machine / "fan"))
    decisions = [detector(machine / "new" / f"{clip}.wav") for clip in range(4)]
    assert [decision.is_anomaly for decision in decisions[2:]] == [True, True]
    assert max(d.anomaly_score for d in decisions[:2]) < min(d.anomaly_score for d in decisions[2:])
    assert decisions[3].p_value == pytest.approx(1 / 13)
    assert decisions[0].threshold == detector.machines["fan"].threshold


def test_an_array_is_scored_like_its_file(machine):
    detector = AnomalyDetector().fit(load_folder(machine / "fan"))
    samples, rate = soundfile.read(machine / "new" / "2.wav", dtype="float32")
    assert detector(samples, rate) == detector(machine / "new" / "2.wav")
    with pytest.raises(ValueError, match="sampling_rate"):
        detector(samples)


@pytest.mark.parametrize("kind", ["statistics", "encoder"])
def test_a_score_depends_on_nothing_but_the_recording(machine, encoder, kind):
    """Not on a test row's condition, domain, attributes, file name or position, nor on the other test rows."""
    detector = AnomalyDetector(encoder if kind == "encoder" else None).fit(load_folder(machine / "fan"))
    new = load_folder(machine / "new")["train"]
    scores = detector.score(new)["anomaly_score"][:]

    rng = np.random.default_rng(1)
    rows = []
    for position, path in enumerate(sorted((machine / "new").iterdir())):
        disguised = machine / "disguised" / f"section_00_target_test_anomaly_{position:04d}.wav"
        disguised.parent.mkdir(exist_ok=True)
        disguised.write_bytes(path.read_bytes())
        rows.append(
            {
                "path": disguised,
                "machine": "fan",
                "section": str(rng.integers(9)),
                "domain": ("source", "target", "unknown")[position % 3],
                "condition": ("anomaly", "normal", "unknown")[position % 3],
                "attributes": {"speed": str(position)},
                "split": "test",
                "clip_id": f"fan/test/disguised-{position}",
            }
        )
    disguised = dataset_from_rows(rows)
    # A row alone and rows together share a matrix product of another shape, which rounds differently.
    assert detector.score(disguised)["anomaly_score"][:] == pytest.approx(scores, rel=1e-5)
    backwards = detector.score(disguised.select([3, 2, 1, 0]))["anomaly_score"][:]
    assert backwards[::-1] == pytest.approx(scores, rel=1e-5)
    alone = [detector.score(disguised.select([row]))["anomaly_score"][0] for row in range(4)]
    assert alone == pytest.approx(scores, rel=1e-5)


def test_source_and_target_banks_are_joined_by_the_lower_score():
    rng = np.random.default_rng(0)
    rows = [
        {"machine": "fan", "domain": domain, "clip_id": f"{domain}-{clip}", "condition": "normal"}
        for domain, count in (("source", 20), ("target", 5))
        for clip in range(count)
    ]
    center = np.where(np.array([[row["domain"] == "source"] for row in rows]), [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    embeddings = (center + 0.05 * rng.standard_normal((25, 3))).astype(np.float32)
    train = Dataset.from_list([row | {"embedding": e.tolist()} for row, e in zip(rows, embeddings, strict=True)])
    detector = AnomalyDetector(config=DetectorConfig(preset="fast")).fit(train)
    assert set(detector.machines["fan"].embeddings) == {"source", "target"}
    scored = detector.score(
        Dataset.from_dict({"machine": ["fan"] * 3, "embedding": [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]})
    )
    source, target, neither = scored["anomaly_score"][:]
    assert source < neither and target < neither
    assert scored["nearest_clip_id"][0].startswith("source") and scored["nearest_clip_id"][1].startswith("target")


def test_refusals_say_what_to_do(machine, tmp_path):
    with pytest.raises(ValueError, match="call fit"):
        AnomalyDetector().save_pretrained(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="detector.json"):
        AnomalyDetector.from_pretrained(machine / "fan")
    train = load_folder(machine / "fan")["train"]
    with pytest.raises(ValueError, match="too few"):
        AnomalyDetector().fit(train.select(range(3)))
    marked = train.map(lambda row, index: {"condition": "anomaly" if index == 0 else "normal"}, with_indices=True)
    with pytest.raises(ValueError, match="1 of 12 training clips are marked as anomalies"):
        AnomalyDetector().fit(marked)
    two = AnomalyDetector().fit(train.map(lambda row, i: {"machine": "ab"[i % 2]}, with_indices=True))
    with pytest.raises(ValueError, match="knows a, b"):
        two(machine / "new" / "0.wav")


@pytest.mark.slow
@pytest.mark.parametrize("false_alarm_rate", [0.05, 0.2])
def test_the_promised_false_alarm_rate_holds(false_alarm_rate):
    """Over many machines of 50 normal clips, new normal clips raise alarms as often as promised."""
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(40):
        vectors = rng.standard_normal((150, 6)).astype(np.float32) + 3
        columns = {"machine": ["m"] * 150, "domain": ["source"] * 150, "condition": ["normal"] * 150}
        rows = Dataset.from_dict(columns | {"clip_id": [str(i) for i in range(150)], "embedding": vectors.tolist()})
        config = DetectorConfig(preset="fast", false_alarm_rate=false_alarm_rate)
        detector = AnomalyDetector(config=config).fit(rows.select(range(50)))
        alarms += detector.score(rows.select(range(50, 150)))["is_anomaly"][:]
    assert np.mean(alarms) == pytest.approx(false_alarm_rate, rel=0.35)
