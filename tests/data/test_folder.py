import numpy as np
import pytest
import soundfile
from datasets import Dataset

from hf_asd.data.folder import load_folder
from hf_asd.data.schema import FEATURES, attribute_label, side_by_side


def record(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)


def test_a_bare_folder_is_one_normal_machine(tmp_path):
    for name in ("b.wav", "a.flac"):
        record(tmp_path / "my_fan" / name)
    (tmp_path / "my_fan" / "notes.txt").write_text("not a recording")
    dataset = load_folder(tmp_path / "my_fan")
    assert list(dataset) == ["train"] and dataset["train"].features == FEATURES
    assert dataset["train"]["clip_id"][:] == ["my_fan/a.flac", "my_fan/b.wav"]
    assert set(dataset["train"]["machine"]) == {"my_fan"} and set(dataset["train"]["condition"]) == {"normal"}
    assert dataset["train"][0]["attribute_label"] is None


def test_subfolders_name_machine_split_condition_and_attribute(tmp_path):
    for name in ("pump/normal/1.wav", "pump/normal/slow/2.wav", "pump/abnormal/3.wav", "fan/test/4.wav"):
        record(tmp_path / name)
    dataset = load_folder(tmp_path)
    assert dataset["train"]["clip_id"][:] == ["pump/pump/normal/1.wav", "pump/pump/normal/slow/2.wav"]
    assert dataset["train"]["attribute_label"][:] == [None, "folder=slow"]
    test = {row["clip_id"]: (row["machine"], row["condition"]) for row in dataset["test"]}
    assert test == {"fan/fan/test/4.wav": ("fan", "unknown"), "pump/pump/abnormal/3.wav": ("pump", "anomaly")}


def test_metadata_overrules_the_folders(tmp_path):
    for name in ("1.wav", "2.wav", "3.wav"):
        record(tmp_path / name)
    lines = ["file_name,machine,domain,condition,speed", "1.wav,fan,target,normal,20", "2.wav,,,anomaly,"]
    (tmp_path / "metadata.csv").write_text("\n".join([*lines, "3.wav,,,normal,"]))
    dataset = load_folder(tmp_path)
    first, third = dataset["train"]
    assert (first["machine"], first["domain"], first["attribute_label"]) == ("fan", "target", "speed=20")
    assert (third["machine"], third["domain"]) == (tmp_path.name, "unknown")
    assert dataset["test"]["condition"][:] == ["anomaly"]
    assert set(load_folder(tmp_path, machine="blower")["train"]["machine"]) == {"blower"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("machine\nfan", "lacks the column file_name"),
        ("file_name\n9.wav", "line 2: there is no recording '9.wav'"),
        ("file_name,condition\n1.wav,soft", "condition is 'soft'; accepted are normal, anomaly and unknown"),
    ],
)
def test_faulty_metadata_is_refused(tmp_path, text, message):
    record(tmp_path / "1.wav")
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no recordings"):
        load_folder(tmp_path)


def test_one_file_is_a_folder_of_one(tmp_path):
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav")
    assert load_folder(tmp_path / "a.wav")["train"].num_rows == 1


def test_attribute_label_is_canonical():
    assert (
        attribute_label({"speed": "2", "load": "1"})
        == attribute_label({"load": "1", "speed": "2"})
        == "load=1,speed=2"
    )
    assert attribute_label({}) is None


def test_columns_are_put_beside_selected_rows_without_a_progress_bar(capfd):
    rows = Dataset.from_dict({"clip_id": list("abcd")}).select([3, 1])
    joined = side_by_side(rows, Dataset.from_dict({"anomaly_score": [0.5, 0.25]}))
    assert joined[:] == {"clip_id": ["d", "b"], "anomaly_score": [0.5, 0.25]}
    assert "Flattening" not in capfd.readouterr().err
    Dataset.from_dict({"clip_id": list("abcd")}).select([3, 1]).flatten_indices()
    assert "Flattening" in capfd.readouterr().err  # other bars are shown as before
