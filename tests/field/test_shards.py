"""Very many recordings: parquet shards in and out, over processes, resumed after an interruption."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, Features, Value, load_dataset
from processes import in_processes
from small_encoders import small_encoder
from sounds import RATE, hum

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.audio.reading import BadAudioError
from hf_asd.cli import main
from hf_asd.data.schema import arrow_table, read_table
from hf_asd.shards.embedding import embed_parts
from hf_asd.shards.fitting import machine_folder
from hf_asd.shards.reading import find_parts, find_shards, holds_shards
from hf_asd.shards.results import own_share, read_record
from hf_asd.shards.scoring import Detectors


MACHINES = {"fan": 100.0, "pump": 140.0, "valve": 70.0}
NORMAL, NEW = 12, 6


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Three machines with twelve normal recordings of a second each, and six new ones, of which two have a tone."""
    root, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    tone = 0.05 * np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE).astype(np.float32)
    for machine, pitch in MACHINES.items():
        for kind, count in (("normal", NORMAL), ("new", NEW)):
            folder = root / kind / machine
            folder.mkdir(parents=True)
            for number in range(count):
                sound = hum(rng, pitch) + (tone if kind == "new" and number >= NEW - 2 else 0)
                soundfile.write(folder / f"{number:02d}.wav", sound, RATE)
    return root


@pytest.fixture(scope="module")
def shards(plant):
    """The same recordings as `datasets` writes them: content, machines as class labels, mixed, in row groups of 5."""
    for kind, folder in (("normal", plant / "normal-shards"), ("new", plant / "new-shards")):
        files = sorted((plant / kind).rglob("*.wav"), key=lambda file: (file.name, file.parent.name))
        names = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}, "machine": Value("string")})
        rows = Dataset.from_dict(
            {
                "audio": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
                "machine": [file.parent.name for file in files],
            },
            features=names,
        )
        rows = rows.cast_column("machine", ClassLabel(names=list(MACHINES))).cast_column("audio", Audio(decode=False))
        write_shards(rows, folder / "data", 2, "train")
    return plant


def write_shards(rows, folder, count, split):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        own = rows.shard(count, number)
        table = arrow_table(own).replace_schema_metadata(own.features.arrow_schema.metadata)
        pq.write_table(table, folder / f"{split}-{number:05d}-of-{count:05d}.parquet", row_group_size=5)


@pytest.fixture(scope="module")
def detectors(plant):
    """A detector for each machine of the folder."""
    assert main(["fit", str(plant / "normal"), "--machines", "--separate", "--output", str(plant / "fitted")]) == 0
    return plant / "fitted"


def rows_of(folder):
    return read_table(*sorted(folder.glob("part-*.parquet")))


def by_sound(rows):
    """The score of each recording, by machine and number."""
    scores = zip(rows["machine"], rows["file"], rows["anomaly_score"], strict=True)
    return {(machine, Path(file).name): score for machine, file, score in scores}


def thresholds(folder):
    return {
        machine: AnomalyDetector.from_pretrained(folder / machine).machines[machine].threshold for machine in MACHINES
    }


def test_each_machine_gets_the_detector_that_it_would_get_alone(plant, detectors):
    for machine in MACHINES:
        alone = AnomalyDetector().fit(load_folder(plant / "normal" / machine, machine))
        found = AnomalyDetector.from_pretrained(detectors / machine)
        np.testing.assert_array_equal(found.machines[machine].normal_scores, alone.machines[machine].normal_scores)
        assert found.machines[machine].threshold == alone.machines[machine].threshold
        assert found.profiles.keys() == {machine} and found.heard is not None
    lines = list(csv.DictReader((detectors / "machines.csv").open()))
    assert [line["machine"] for line in lines] == list(MACHINES)
    assert {line["normal_recordings"] for line in lines} == {str(NORMAL)}


def test_shards_of_contents_give_the_same_detectors_and_decisions(shards, detectors, tmp_path):
    assert main(["fit", str(shards / "normal-shards"), "--output", str(tmp_path / "fitted")]) == 0
    # The order of the recordings is another one: sums may differ in the last bit.
    assert thresholds(tmp_path / "fitted") == pytest.approx(thresholds(detectors), rel=1e-9)
    score = ["score", str(detectors)]
    assert main([*score, str(shards / "new"), "--machines", "--output", str(tmp_path / "paths")]) == 0
    assert main([*score, str(shards / "new-shards"), "--output", str(tmp_path / "contents")]) == 0
    paths, contents = by_sound(rows_of(tmp_path / "paths")), by_sound(rows_of(tmp_path / "contents"))
    assert contents == pytest.approx(paths, rel=1e-9) and len(paths) == 3 * NEW


def test_decisions_are_those_of_score(plant, detectors, tmp_path):
    assert main(["score", str(detectors), str(plant / "new"), "--machines", "--output", str(tmp_path / "out")]) == 0
    found = rows_of(tmp_path / "out")
    assert not {"audio", "embedding"} & set(found.column_names)
    for machine in MACHINES:
        alone = AnomalyDetector.from_pretrained(detectors / machine).score(
            load_folder(plant / "new" / machine)["train"]
        )
        own = found.filter(lambda row, machine=machine: row["machine"] == machine)
        assert own["anomaly_score"][:] == alone["anomaly_score"][:]
        assert own["is_anomaly"][:] == [False] * (NEW - 2) + [True] * 2
        assert [Path(file).name for file in own["file"]] == [f"{number:02d}.wav" for number in range(NEW)]


def test_embeddings_take_the_place_of_recordings(shards, detectors, tmp_path, capsys):
    for kind in ("normal", "new"):
        assert main(["embed", str(shards / f"{kind}-shards"), "--output", str(tmp_path / kind)]) == 0
    assert "36 embeddings of 3 machines" in capsys.readouterr().out
    file = sorted((tmp_path / "normal").glob("part-*.parquet"))[0]
    groups = pq.ParquetFile(file)
    machines = [set(groups.read_row_group(one)["machine"].to_pylist()) for one in range(groups.num_row_groups)]
    assert machines == [{"fan"}, {"pump"}, {"valve"}], "a row group is of one machine"
    assert main(["fit", str(tmp_path / "normal"), "--output", str(tmp_path / "fitted")]) == 0
    assert thresholds(tmp_path / "fitted") == pytest.approx(thresholds(detectors), rel=1e-9)
    assert main(["score", str(tmp_path / "fitted"), str(tmp_path / "new"), "--output", str(tmp_path / "out")]) == 0
    assert "6 of 18 recordings are anomalous" in capsys.readouterr().out
    assert main(["embed", str(shards / "new-shards"), "--output", str(tmp_path / "mean"), "--statistics", "mean"]) == 0
    assert main(["score", str(tmp_path / "fitted"), str(tmp_path / "mean"), "--output", str(tmp_path / "other")]) == 2
    assert "holds embeddings of another encoder than that of the detector" in capsys.readouterr().err


def test_results_are_read_by_datasets_as_a_stream(plant, detectors, tmp_path):
    assert main(["score", str(detectors), str(plant / "new"), "--machines", "--output", str(tmp_path / "out")]) == 0
    streamed = load_dataset("parquet", data_dir=str(tmp_path / "out"), streaming=True)["train"]
    assert sorted(row["clip_id"] for row in streamed) == sorted(rows_of(tmp_path / "out")["clip_id"])


class Breaking:
    """Mean and spread of the samples; stops working after so many clips."""

    dimensions, description, fingerprint = 2, "mean and spread", "mean and spread"

    def __init__(self, breaks_after=1000):
        self.clips, self.breaks_after = 0, breaks_after

    def __call__(self, clips):
        self.clips += len(clips)
        if self.clips > self.breaks_after:
            raise KeyboardInterrupt
        return np.array([[clip.mean(), clip.std()] for clip in clips], dtype=np.float32)


def test_an_interrupted_run_goes_on_and_nothing_is_lost_or_there_twice(shards, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_asd.shards.reading.PART_ROWS", 5)
    parts = find_parts(find_shards([shards / "normal-shards"]), by_machine=False)
    assert [part.num_rows for part in parts] == [5, 5, 5, 3, 5, 5, 5, 3]
    with pytest.raises(KeyboardInterrupt):
        embed_parts(parts, Breaking(breaks_after=12), tmp_path)
    assert len(list(tmp_path.glob("part-*.parquet"))) == 2
    (tmp_path / ".part-000002.0123abcd.partial").write_bytes(b"of a killed process")
    rest = Breaking()
    plan = embed_parts(parts, rest, tmp_path)
    assert rest.clips == 3 * NORMAL - 10 and len(plan.unfinished) == 6
    names = rows_of(tmp_path)["clip_id"][:]
    assert len(names) == len(set(names)) == 3 * NORMAL
    assert not list(tmp_path.glob(".*.partial"))


def test_results_of_other_recordings_or_options_are_refused(shards, tmp_path):
    parts = find_parts(find_shards([shards / "normal-shards"]), by_machine=False)
    embed_parts(parts, Breaking(), tmp_path)
    with pytest.raises(ValueError, match="holds results of other recordings, .* or of other options: part-000000-"):
        embed_parts(parts, Breaking(), tmp_path, channel="mean")
    with pytest.raises(ValueError, match="Give another folder, or remove these files"):
        embed_parts(parts[:1], Breaking(), tmp_path)


@pytest.fixture
def damaged(tmp_path):
    """Two shards of one machine; all recordings of the second are damaged."""
    rng, sound = np.random.default_rng(0), io.BytesIO()
    soundfile.write(sound, hum(rng), RATE, format="WAV")
    features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    for number, content in enumerate((sound.getvalue(), b"no sound")):
        audio = [{"bytes": content, "path": f"{number}-{row}.wav"} for row in range(3)]
        rows = Dataset.from_dict({"audio": audio}, features=features).cast_column("audio", Audio(decode=False))
        write_shards(rows, tmp_path / "in" / f"{number}", 1, "train")
    return tmp_path


def test_damaged_recordings_are_named_and_the_rest_is_finished(damaged):
    parts, output = find_parts(find_shards([damaged / "in"]), by_machine=False), damaged / "out"
    with pytest.raises(BadAudioError, match=r"3 of 6 recordings cannot be used:\n  1-0.wav, 1-1.wav, 1-2.wav: "):
        embed_parts(parts, Breaking(), output)
    assert len(rows_of(output)) == 3


def test_damaged_recordings_can_be_left_out_and_are_still_known_to_a_later_run(damaged, capsys):
    words = ["embed", str(damaged / "in"), "--machine", "fan", "--output", str(damaged / "out")]
    for _ in range(2):
        assert main([*words, "--on-bad-audio", "skip"]) == 0
        printed = capsys.readouterr()
        assert printed.err.count("skipped: 1-") == 3
        assert "3 embeddings of 1 machine:" in printed.out
    assert len(rows_of(damaged / "out")) == 3, "a file without rows has the columns of the others"
    detector = damaged / "detector"
    AnomalyDetector().fit(hums(8)).save_pretrained(detector)
    words = ["score", str(detector), str(damaged / "in"), "--output", str(damaged / "decided")]
    assert main([*words, "--on-bad-audio", "skip"]) == 0
    assert "of 3 recordings are anomalous, 3 skipped" in capsys.readouterr().out
    assert len(rows_of(damaged / "decided")) == 3


def hums(count):
    rng, features = np.random.default_rng(1), Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    audio = []
    for number in range(count):
        content = io.BytesIO()
        soundfile.write(content, hum(rng), RATE, format="WAV")
        audio.append({"bytes": content.getvalue(), "path": f"{number}.wav"})
    return Dataset.from_dict({"audio": audio}, features=features)


def test_a_machine_that_cannot_be_learned_does_not_stop_the_others(plant, tmp_path, capsys):
    for machine, count in (("fan", 8), ("pump", 2)):
        (tmp_path / "in" / machine).mkdir(parents=True)
        for file in sorted((plant / "normal" / machine).iterdir())[:count]:
            (tmp_path / "in" / machine / file.name).symlink_to(file)
    words = ["fit", str(tmp_path / "in"), "--machines", "--separate", "--output", str(tmp_path / "fitted")]
    assert main(words) == 2
    assert "1 of 2 machines have no detector" in (error := capsys.readouterr().err)
    assert "pump: 2 normal recordings are too few" in error
    before = (tmp_path / "fitted" / "fan" / "detector.json").stat().st_mtime_ns
    (tmp_path / "in" / "pump").rename(tmp_path / "pump")
    assert main(words) == 0
    assert (tmp_path / "fitted" / "fan" / "detector.json").stat().st_mtime_ns == before, "finished ones are kept"


def test_shards_of_other_programs_are_read(plant, tmp_path):
    """Long texts, dictionaries and doubles, without clip_id; test shards beside those to learn from."""
    vectors = np.random.default_rng(0).normal(size=(8, 6))
    columns = {
        "machine": pa.array(["fan", "a/b"] * 4).dictionary_encode(),
        "file": pa.array([f"{row}.wav" for row in range(8)], type=pa.large_string()),
        "embedding": pa.array(list(vectors), type=pa.large_list(pa.float64())),
    }
    (tmp_path / "in" / "_temporary").mkdir(parents=True)
    for name in ("train-00000-of-00001", "test-00000-of-00001", "_temporary/part-0", ".part-1"):
        pq.write_table(pa.table(columns), tmp_path / "in" / f"{name}.parquet")
    assert len(find_shards([tmp_path / "in"])) == 2
    (shard,) = find_shards([tmp_path / "in"], to_fit=True)
    parts = find_parts([shard], by_machine=True, to_fit=True)
    assert [(part.machine, part.num_rows) for part in parts] == [("a/b", 4), ("fan", 4)]
    (rows,) = parts[1].batches()
    assert rows["clip_id"][:] == [f"train-00000-of-00001.parquet:{row}" for row in (0, 2, 4, 6)]
    np.testing.assert_array_equal(np.array(rows["embedding"][:]), vectors[::2].astype(np.float32))
    assert machine_folder(tmp_path, "a/b") == tmp_path / "a%2Fb"
    assert machine_folder(tmp_path, "..") == tmp_path / "%2E."


def test_only_folders_without_recordings_are_taken_for_shards(plant, detectors, shards):
    assert holds_shards(shards / "new-shards") and holds_shards(next((shards / "new-shards").rglob("*.parquet")))
    assert not holds_shards(plant / "new")
    assert not holds_shards(plant), "there are recordings as well"
    assert not holds_shards(detectors), "tables of detectors are none"


def test_what_would_not_be_used_or_is_missing_is_an_error(shards, detectors, tmp_path, capsys):
    new, output = str(shards / "new-shards"), ["--output", str(tmp_path)]
    wrong = {
        ("score", str(detectors), new): "holds parquet shards; give --output, a folder for the decisions.",
        ("score", str(detectors), new, *output, "--csv", "x.csv"): "--csv is given, but it is not used with --output",
        (
            "score",
            str(detectors),
            new,
            *output,
            "--machine",
            "crane",
        ): "machine is 'crane'; known are fan, pump, valve",
        ("fit", new, *output, "--session", "monday"): "--session is given, but it is not used with parquet shards",
        ("fit", new, *output, "--machines"): "--machines is for folders of recordings",
        ("embed", new, str(shards / "new"), *output): "holds parquet shards, the other folders do not",
    }
    for words, message in wrong.items():
        assert main(list(words)) == 2
        assert message in capsys.readouterr().err


def test_a_single_detector_decides_about_shards_as_well(shards, detectors, tmp_path, capsys):
    words = ["score", str(detectors / "fan"), str(shards / "new" / "fan"), "--output", str(tmp_path / "out")]
    assert main([*words, "--fail-on-anomaly"]) == 1
    assert "2 of 6 recordings are anomalous" in capsys.readouterr().out
    assert Detectors(detectors / "fan").known("another name") == "fan"


@pytest.mark.parametrize("sizes", [[], [5], [3, 3, 3, 3], [100, 1, 1, 1, 1], list(range(1, 40))])
def test_processes_share_all_parts_and_none_twice(sizes, monkeypatch):
    for processes in (1, 2, 3, 7):
        done = []
        for process in range(processes):
            state = type("State", (), {"process_index": process, "num_processes": processes})
            monkeypatch.setattr("hf_asd.shards.results.partial_state", lambda state=state: state)
            done += own_share(sizes)
        assert done == list(range(len(sizes)))


def test_many_detectors_keep_their_encoder_once(plant, tmp_path):
    small_encoder("eat").save_pretrained(tmp_path / "encoder")
    words = ["fit", str(plant / "normal"), "--machines", "--separate", "--output", str(tmp_path / "fitted")]
    assert main([*words, "--encoder", str(tmp_path / "encoder"), "--preset", "fast"]) == 0
    weights = [tmp_path / "fitted" / machine / "encoder" / "model.safetensors" for machine in MACHINES]
    assert len({file.stat().st_ino for file in weights}) == 1
    found = AnomalyDetector.from_pretrained(tmp_path / "fitted" / "pump")
    alone = AnomalyDetector(tmp_path / "encoder", DetectorConfig(preset="fast"))
    alone.fit(load_folder(plant / "normal" / "pump", "pump"))
    np.testing.assert_array_equal(found.machines["pump"].normal_scores, alone.machines["pump"].normal_scores)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(shards, tmp_path):
    for processes in (1, 2):
        out = tmp_path / str(processes)
        steps = [["fit", str(shards / "normal-shards"), "--output", str(out / "fitted")]]
        steps += [["score", str(out / "fitted"), str(shards / "new-shards"), "--output", str(out / "decided")]]
        if processes == 1:
            assert [main(step) for step in steps] == [0, 0]
            continue
        runs = [(processes, ["-m", "hf_asd", *step]) for step in steps]
        for printed in in_processes(*runs, imports="hf_asd.detection.detector"):
            assert printed.count(str(out)) == 1, "one process prints"
    for machine in MACHINES:
        one, two = (AnomalyDetector.from_pretrained(tmp_path / str(n) / "fitted" / machine) for n in (1, 2))
        np.testing.assert_array_equal(two.machines[machine].normal_scores, one.machines[machine].normal_scores)
    one, two = (rows_of(tmp_path / str(processes) / "decided") for processes in (1, 2))
    kept = [name for name in one.column_names if name != "detector"]
    assert two.select_columns(kept).to_list() == one.select_columns(kept).to_list() and len(one) == 3 * NEW
    counts = [read_record(file).counts for file in sorted((tmp_path / "2" / "decided").glob("part-*.parquet"))]
    assert sum(own["anomalies"] for one in counts for own in one.values() if "anomalies" in own) == 6
    assert json.loads((tmp_path / "2" / "fitted" / "fan" / "made_from.json").read_text())["line"]["machine"] == "fan"
