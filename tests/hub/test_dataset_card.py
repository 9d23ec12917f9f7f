"""A dataset pushed to, and loaded from, a local Hub."""

import os

import pytest
from datasets import Audio, DatasetDict, get_dataset_config_names, load_dataset
from huggingface_hub import DatasetCard

from hf_asd.audio.reading import read_audio
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.hub.dataset_card import dataset_card, push_dataset_to_hub, rows_of_machine
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("publish")
    sizes = {"num_source_train": 3, "num_target_train": 1, "num_test": 1, "clip_seconds": 1.0}
    write_factory(FactoryConfig(machines=("fan", "valve"), **sizes), path / "factory")
    return load_dcase(path / "factory", 2025, cache_dir=path / "cache")


def test_a_machine_s_rows_are_typed_for_the_viewer(dataset):
    fan = rows_of_machine(dataset, "fan")
    assert [(split, len(rows)) for split, rows in fan.items()] == [("train", 4), ("test", 4)]
    assert all(rows.features["audio"] == Audio() and set(rows["machine"]) == {"fan"} for rows in fan.values())
    assert rows_of_machine(dataset, "fan", 16000)["test"].features["audio"].sampling_rate == 16000
    scored = DatasetDict({"test": dataset["test"].add_column("anomaly_score", [0.5] * 8)})
    assert rows_of_machine(scored, "fan")["test"].column_names == dataset["test"].column_names, (
        "the schema's columns only"
    )


def test_the_card_says_what_is_in_it(dataset):
    card = dataset_card(dataset, "me/factory", title="A factory", license="apache-2.0", description="Made, not heard.")
    assert (card.data.license, card.data.pretty_name) == ("apache-2.0", "A factory")
    assert card.data.task_categories == ["audio-classification"] and "anomaly-detection" in card.data.tags
    assert card.data.size_categories == ["n<1K"]
    text = card.text
    assert "# A factory\n\nMade, not heard.\n" in text and 'load_dataset("me/factory", "fan")' in text
    conditions = len({label for rows in dataset.values() for label in rows["attribute_label"] if label})
    assert f"| fan | 4 | 4 | {conditions} |" in text and "| valve | 4 | 4 | hidden |" in text
    assert "The operating conditions of valve are hidden." in text
    own = dataset.map(lambda row: {"domain": "unknown", "attribute_label": None})
    text = dataset_card(own, "me/own", title="My machines", license="other").text
    assert "| valve | 4 | 4 | not given |" in text and "hidden" not in text.split("| column |")[0]
    assert "source domain and few" not in text


def test_what_cannot_be_published(dataset, tmp_path):
    options = {"title": "A factory", "license": "other"}
    with pytest.raises(ValueError, match="Repo id must"):
        push_dataset_to_hub(dataset, "not/a/name", **options)
    with pytest.raises(ValueError, match="the split test lacks clip_id, split; it has audio"):
        push_dataset_to_hub(DatasetDict(test=dataset["test"].remove_columns(["clip_id", "split"])), "me/x", **options)
    with pytest.raises(ValueError, match="has no rows"):
        push_dataset_to_hub(DatasetDict(test=dataset["test"].select([])), "me/x", **options)
    renamed = dataset["test"].remove_columns("machine").add_column("machine", ["hall 1/fan"] * 8)
    with pytest.raises(ValueError, match="machine 'hall 1/fan' cannot be a config"):
        push_dataset_to_hub(DatasetDict(test=renamed), "me/x", **options)
    gone = [{"path": str(tmp_path / "gone.wav"), "bytes": None}] * 8
    lost = dataset["test"].remove_columns("audio").add_column("audio", gone).cast_column("audio", Audio(decode=False))
    with pytest.raises(FileNotFoundError, match="gone.wav: does not exist"):
        push_dataset_to_hub(DatasetDict(test=lost), "me/x", **options)


@pytest.mark.slow
def test_what_is_pushed_is_what_is_loaded(hub, dataset):
    for _ in range(2):  # the second time replaces what the first wrote
        address = push_dataset_to_hub(dataset, "me/factory", title="A factory", license="apache-2.0")
    assert address.endswith("/datasets/me/factory")
    repo = hub.repo("me/factory", "datasets")
    assert repo.private
    assert get_dataset_config_names("me/factory") == ["fan", "valve"]
    assert sorted(path for path in repo.files if path.endswith(".parquet")) == [
        f"{machine}/{split}-00000-of-00001.parquet" for machine in ("fan", "valve") for split in ("test", "train")
    ]
    card = repo.files["README.md"].decode()
    assert "config_name: fan" in card and "dtype: audio" in card and "license: apache-2.0" in card
    header = DatasetCard(card).data
    for facts, config in zip(header.dataset_info, header.configs, strict=True):  # what the viewer plays the clips by
        assert facts["config_name"] == config["config_name"] in ("fan", "valve")
        assert {"name": "audio", "dtype": "audio"} in facts["features"]
        places = {entry["split"]: entry["path"] for entry in config["data_files"]}
        assert places == {split: f"{config['config_name']}/{split}-*" for split in ("train", "test")}
    assert card.count("# A factory") == 1, "the second push replaces the card's text"
    loaded = load_dataset("me/factory", "valve").cast_column("audio", Audio(decode=False))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 4, "test": 4}
    ours = dataset["test"].filter(lambda row: row["machine"] == "valve")
    for row, own in zip(loaded["test"], ours, strict=True):
        assert {**row, "audio": None} == {**own, "audio": None}
        assert row["audio"]["path"] == os.path.basename(own["audio"]["path"])
        with open(own["audio"]["path"], "rb") as file:
            assert row["audio"]["bytes"] == file.read()
        assert (read_audio(row["audio"]) == read_audio(own["audio"])).all()
