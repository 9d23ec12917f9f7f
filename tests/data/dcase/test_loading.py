"""Miniature trees of every year, made of a simulated factory's recordings: what they load to, and what is refused."""

import csv
import re
import shutil
from collections import Counter

import datasets
import numpy as np
import pytest
import soundfile

from hf_asd.data.dcase.attributes import load_attribute_truth
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.dcase.names import is_noise_only
from hf_asd.data.schema import attribute_label, reveal_attributes
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


NAME = re.compile(r"section_00_(source|target)_(train|test)_(normal|anomaly)_(\d{4})_(.*)\.wav")
MACHINES = ("fan", "valve")
# Per machine: 5 source and 2 target clips to train, 3 of each domain and condition to test.
TRAIN, TEST = 7, 12


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "default_cache")


@pytest.fixture(scope="session")
def factory(tmp_path_factory):
    path = tmp_path_factory.mktemp("dcase") / "factory"
    sizes = {"num_source_train": 5, "num_target_train": 2, "num_test": 3, "clip_seconds": 1.0}
    return write_factory(FactoryConfig(machines=MACHINES, hidden_machines=1, **sizes), path)


@pytest.fixture
def tree(factory, tmp_path):
    """Writes the factory's clips in the layout of another year: development and evaluation data."""

    def write(year: int):
        root = tmp_path / f"dcase{year}"
        for machine in MACHINES:
            for file in sorted((factory / machine).rglob("*.wav")):
                domain, split, condition, number, attributes = NAME.fullmatch(file.name).groups()
                copy = (root, year, machine, file, domain, split, condition, int(number), attributes)
                write_clip(*copy, evaluation=False)
                write_clip(*copy, evaluation=True)
        return root

    return write


def write_clip(root, year, machine, file, domain, split, condition, number, attributes, evaluation):
    hidden = evaluation and split == "test"
    # Clips of the evaluation test set are numbered through, whatever they are.
    place = number + 3 * (condition == "anomaly") + 6 * (domain == "target" and year != 2021)
    folder = split
    section = {2020: "05", 2021: "03", 2022: "03"}.get(year, "00") if evaluation else "00"
    if year == 2020:
        name = (
            f"id_{section}_{place:08d}"
            if hidden
            else f"{condition}_id_{section}_{10 * (domain == 'target') + number:08d}"
        )
    elif year == 2021:
        folder = f"{domain}_test" if split == "test" else split
        name = f"section_{section}_{domain}_{split}_{condition}_{number:04d}"
        name = f"section_{section}_{domain}_test_{place:04d}" if hidden else name
    else:
        told = attributes if attributes != "noAttribute" or year > 2023 else "pat_00_pres_4"
        name = f"section_{section}_{domain}_{split}_{condition}_{number:04d}_{told}"
        name = f"section_{section}_{place:04d}" if hidden else name
    if evaluation:
        machine = eval_machine(machine, year)
    target = root / ("eval_data" if evaluation else "dev_data") / machine / folder / f"{name}.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    if year == 2026:
        samples, rate = soundfile.read(file)
        soundfile.write(target, np.stack([samples, 0.3 * samples], axis=1), rate)
    else:
        shutil.copyfile(file, target)


def eval_machine(machine, year):
    """Since 2023 the machines of the evaluation are others than those of development."""
    return machine if year < 2023 else f"new_{machine}"


def dev(tree_of_year):
    return tree_of_year / "dev_data"


@pytest.mark.parametrize("year", range(2020, 2027))
def test_every_year_loads_to_its_counts_sections_domains_and_conditions(tree, year, tmp_path):
    root = tree(year)
    both = load_dcase(root, year, cache_dir=tmp_path / "cache")
    assert {split: len(rows) for split, rows in both.items()} == {"train": 4 * TRAIN, "test": 4 * TEST}
    assert all(rows.features == both["train"].features for rows in both.values())
    evaluated = load_dcase(root, year, subset="eval", cache_dir=tmp_path / "cache")["test"]
    section = {2020: "05", 2021: "03", 2022: "03"}.get(year, "00")
    assert set(evaluated["section"]) == {section} and set(evaluated["condition"]) == {"unknown"}
    known = {"source", "target"} if year == 2021 else {"unknown"}
    assert set(evaluated["domain"]) == known and {eval_machine(name, year) for name in MACHINES} == set(
        evaluated["machine"]
    )
    developed = load_dcase(dev(root), year, cache_dir=tmp_path / "cache")
    groups = Counter(zip(developed["test"]["domain"], developed["test"]["condition"], strict=True))
    if year == 2020:
        assert groups == {("unknown", "normal"): TEST, ("unknown", "anomaly"): TEST}
    else:
        assert groups == {(d, c): 6 for d in ("source", "target") for c in ("normal", "anomaly")}
    assert set(developed["train"]["condition"]) == {"normal"} and set(developed["train"]["split"]) == {"train"}
    row = developed["train"][0]
    assert row["clip_id"].startswith("fan/train/") and row["audio"]["path"].endswith(f"/{row['clip_id']}.wav")
    assert len(set(both["test"]["clip_id"])) == 4 * TEST
    channels = soundfile.info(row["audio"]["path"]).channels
    assert channels == (2 if year == 2026 else 1)
    with_attributes = {label for label in developed["train"]["attribute_label"] if label}
    assert bool(with_attributes) == (year > 2021)


@pytest.mark.parametrize("year", [2024, 2025])
def test_hidden_attributes_are_empty_and_others_are_key_and_value(tree, year):
    train = load_dcase(dev(tree(year)), year)["train"]
    fan, valve = (train.filter(lambda row, name=name: row["machine"] == name) for name in MACHINES)
    assert all(attributes == [] for attributes in valve["attributes"]) and set(valve["attribute_label"]) == {None}
    assert all([pair["key"] for pair in attributes] == ["spd", "unit"] for attributes in fan["attributes"])
    pairs = {pair["key"]: pair["value"] for pair in fan[0]["attributes"]}
    assert fan[0]["attribute_label"] == f"spd={pairs['spd']},unit={pairs['unit']}"
    assert f"_unit_{pairs['unit']}_spd_{pairs['spd']}" in fan[0]["clip_id"]


@pytest.mark.parametrize("listed", ["fan/train/{}.wav", "fan/train/{}", "{}", "{}.wav"])
def test_tables_of_attributes_win_over_names_however_they_write_them(tree, listed):
    root = dev(tree(2023))
    stems = [file.stem for file in sorted((root / "fan" / "train").iterdir())]
    rows = [[listed.format(stem), "ac", "0.01", "m-n", "W"] for stem in stems[1:]]
    write_table(root / "fan" / "attributes_00.csv", [["file_name", "d1p", "d1v", "d2p", "d2v"], *rows])
    train = load_dcase(root, 2023)["train"]
    labels = {row["clip_id"]: row["attribute_label"] for row in train.remove_columns("audio")}
    assert [labels[f"fan/train/{stem}"] for stem in stems[1:]] == ["ac=0.01,m-n=W"] * (TRAIN - 1)
    assert labels[f"fan/train/{stems[0]}"].startswith("spd="), "one that the table leaves out: its name tells"


def write_table(file, rows):
    with open(file, "w", newline="") as out:
        csv.writer(out).writerows(rows)


def test_tables_without_any_attribute_and_malformed_ones(tree):
    root = dev(tree(2025))
    write_table(root / "valve" / "attributes_00.csv", [["file_name"]])
    assert set(load_dcase(root, 2025, machines="valve")["train"]["attribute_label"]) == {None}
    write_table(root / "valve" / "attributes_00.csv", [["file", "d1p", "d1v"]])
    with pytest.raises(ValueError, match=r"attributes_00.csv: has the columns \['file', 'd1p', 'd1v'\]; accepted are"):
        load_dcase(root, 2025)
    write_table(root / "valve" / "attributes_00.csv", [["file_name", "d1p"]])
    with pytest.raises(ValueError, match=r"has the columns \['file_name', 'd1p'\]"):
        load_dcase(root, 2025)


def test_supplemental_clips_of_2025(tree):
    root = dev(tree(2025))
    folder = root / "fan" / "supplemental"
    folder.mkdir()
    source = next((root / "fan" / "train").iterdir())
    names = [
        "section_00_machine_source_0000_car_A1_noise_1",
        "section_00_noise_supplemental_normal_0000",
        "section_00_machine_source_0001_noAttribute",
    ]
    for name in names:
        shutil.copyfile(source, folder / f"{name}.wav")
    rows = load_dcase(root, 2025)["supplemental"]
    found = {row["clip_id"].split("/")[-1]: (row["domain"], row["condition"]) for row in rows.remove_columns("audio")}
    assert found == dict(zip(names, [("source", "normal"), ("unknown", "unknown"), ("source", "normal")], strict=True))
    told = {row["clip_id"].split("/")[-1]: row["attribute_label"] for row in rows.remove_columns("audio")}
    assert [told[name] for name in names] == ["car=A1,noise=1", None, None]
    assert [is_noise_only(f"fan/supplemental/{name}") for name in names] == [False, True, False]
    with pytest.raises(ValueError, match="there are supplemental clips since 2025"):
        load_dcase(root, 2024)


def test_robotic_arm_of_2024_leaves_the_split_out(tree):
    root = dev(tree(2024))
    for file in sorted((root / "fan" / "test").iterdir()):
        file.rename(file.with_name(file.name.replace("_test_", "_")))
    test = load_dcase(root, 2024)["test"]
    assert len(test) == 2 * TEST and set(test["condition"]) == {"normal", "anomaly"}


def test_the_factory_loads_and_its_truth_covers_the_hidden_machine(factory):
    dataset = load_dcase(factory, 2025)
    assert {split: len(rows) for split, rows in dataset.items()} == {"train": 2 * TRAIN, "test": 2 * TEST}
    truth = load_attribute_truth(factory)
    hidden = [
        clip_id
        for rows in dataset.values()
        for clip_id, label in zip(rows["clip_id"], rows["attribute_label"], strict=True)
        if label is None
    ]
    assert set(truth) == set(hidden) and {clip_id.split("/")[0] for clip_id in hidden} == {"valve"}
    assert set(truth[hidden[0]]) == {"pat", "pres"}
    assert load_attribute_truth(factory / "ground_truth") == truth
    assert load_attribute_truth(factory / "ground_truth" / "valve_attributes_00.csv") == truth
    with pytest.raises(FileNotFoundError, match="holds no table of true attributes"):
        load_attribute_truth(factory / "fan")

    told = reveal_attributes(dataset["train"], truth)
    assert told.features == dataset["train"].features and told["clip_id"] == dataset["train"]["clip_id"]
    for before, after in zip(dataset["train"], told, strict=True):
        if before["machine"] == "valve":
            assert {pair["key"]: pair["value"] for pair in after["attributes"]} == truth[after["clip_id"]]
            assert after["attribute_label"] == attribute_label(truth[after["clip_id"]])
        else:
            assert after == before
    with pytest.raises(ValueError, match=f"none of the {TRAIN} clips with hidden attributes"):
        reveal_attributes(dataset["train"], {"fan/train/x": {"speed": "3"}})


def test_the_organizers_later_tables_of_true_attributes(tmp_path):
    folder = tmp_path / "dcase2025t2" / "dev_data" / "slider"
    folder.mkdir(parents=True)
    header = ["source_file_name", "target_file_name"]
    told = "section_00_source_{}_normal_0003_ac_0.01.wav"
    write_table(
        folder / "attributes_00_train_correspondence.csv",
        [header, [told.format("train"), "section_00_source_train_normal_0007_noAttribute.wav"]],
    )
    write_table(
        folder / "attributes_00_test_correspondence.csv", [header, [told.format("test"), "section_00_0042.wav"]]
    )
    assert load_attribute_truth(tmp_path) == {
        "slider/train/section_00_source_train_normal_0007_noAttribute": {"ac": "0.01"},
        "slider/test/section_00_0042": {"ac": "0.01"},
    }


def test_only_some_machines_one_machine_s_folder_and_streaming(tree):
    root = dev(tree(2025))
    assert set(load_dcase(root, 2025, machines="fan")["test"]["machine"]) == {"fan"}
    assert (
        load_dcase(root / "fan", 2025)["test"]["clip_id"]
        == load_dcase(root, 2025, machines=["fan"])["test"]["clip_id"]
    )
    with pytest.raises(ValueError, match="holds no machine pump; it holds fan, valve"):
        load_dcase(root, 2025, machines=["pump", "fan"])
    streamed = load_dcase(root, 2025, streaming=True)
    whole = load_dcase(root, 2025)
    for split in ("train", "test"):
        assert list(streamed[split]) == list(whole[split])
    assert next(iter(streamed["train"].shuffle(seed=0)))["machine"] in MACHINES


def test_raw_folders_of_the_organizers_baseline(tree):
    root = tree(2025)
    expected = load_dcase(root, 2025)["test"]["clip_id"][:]
    for half in ("dev_data", "eval_data"):
        (root / half).rename(root / "moved")
        (root / half).mkdir()
        (root / "moved").rename(root / half / "raw")
    assert load_dcase(root, 2025)["test"]["clip_id"][:] == expected
    assert len(load_dcase(root, 2025, subset="dev")["test"]) == 2 * TEST
    shutil.rmtree(root / "eval_data")
    with pytest.raises(FileNotFoundError, match="holds no eval_data"):
        load_dcase(root, 2025, subset="eval")


def test_rows_are_kept_until_a_file_changes(tree, tmp_path, monkeypatch):
    root, cache = dev(tree(2025)), tmp_path / "cache"
    first = load_dcase(root, 2025, cache_dir=cache)
    monkeypatch.setattr("hf_asd.data.dcase.loading._machine_rows", None)
    again = load_dcase(root, 2025, cache_dir=cache)
    assert again["train"]._fingerprint == first["train"]._fingerprint
    assert again["test"].to_list() == first["test"].to_list()
    monkeypatch.undo()
    next((root / "fan" / "test").iterdir()).unlink()
    changed = load_dcase(root, 2025, cache_dir=cache)
    assert len(changed["test"]) == len(first["test"]) - 1
    assert changed["train"]._fingerprint != first["train"]._fingerprint
    write_table(root / "valve" / "attributes_00.csv", [["file_name"]])
    assert load_dcase(root, 2025, cache_dir=cache)["test"]._fingerprint != changed["test"]._fingerprint


@pytest.mark.parametrize(
    ("tree_year", "year", "message"),
    [
        (2020, 2025, "unknown file name for 2025.*It looks like 2020"),
        (2025, 2020, "unknown file name for 2020.*It looks like 2021 or 2026"),
        (2021, 2022, "unknown file name for 2022.*test clips are in test/"),
        (2022, 2021, "unknown file name for 2021.*test clips are in source_test/ and target_test/"),
        (2024, 2023, "in 2023 no attributes are hidden, so this is not a folder of 2023"),
        (2025, 2026, r"has 1 channel\(s\), but recordings of 2026 have 2"),
        (2026, 2025, r"has 2 channel\(s\), but recordings of 2025 have 1"),
    ],
)
def test_a_wrong_year_is_an_error(tree, tree_year, year, message):
    with pytest.raises(ValueError, match=message):
        load_dcase(dev(tree(tree_year)), year)


def test_sections_distinguish_2022_from_later_years(tree):
    with pytest.raises(ValueError, match="in 2025 each machine has one section, 00, so this is not a folder of 2025"):
        load_dcase(tree(2022) / "eval_data", 2025)


def test_machines_distinguish_years_of_the_same_layout(tree):
    root = tree(2024) / "eval_data"
    (root / "new_fan").rename(root / "Scanner")
    (root / "new_valve").rename(root / "ToothBrush")
    assert len(load_dcase(root, 2024)["test"]) == 2 * TEST
    with pytest.raises(ValueError, match="Scanner is a machine of 2024, not of 2025"):
        load_dcase(root, 2025)
    with pytest.raises(ValueError, match="ToothBrush is a machine of 2024 and 2026, not of 2025"):
        load_dcase(root, 2025, machines="ToothBrush")
    assert len(load_dcase(root, 2025, strict=False)["test"]) == 2 * TEST


def test_half_unpacked_trees(tree, factory, tmp_path):
    root = dev(tree(2025))
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load_dcase(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no machine. Looked in .*empty"):
        load_dcase(tmp_path / "empty")
    clip = next((root / "fan" / "train").iterdir())
    content = clip.read_bytes()
    clip.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="has 0 bytes; it seems to be partly unpacked"):
        load_dcase(root)
    clip.write_bytes(content)
    shutil.rmtree(root / "valve" / "test")
    with pytest.raises(FileNotFoundError, match=r"seems to be partly unpacked, valve hold\(s\) no test clip"):
        load_dcase(root)
    assert len(load_dcase(root, machines="fan")["test"]) == TEST
    shutil.rmtree(root / "fan" / "train")
    with pytest.raises(
        FileNotFoundError, match="fan: holds no training clip in train/.*additional training data of fan"
    ):
        load_dcase(root, machines="fan")
    copy = shutil.copytree(factory, tmp_path / "copy")
    lost = sorted((copy / "fan" / "train").iterdir())[2]
    lost.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"1 of the 19 files in its table of attributes are missing.*first is {lost.stem}"
    ):
        load_dcase(copy)
    assert len(load_dcase(copy, strict=False)["train"]) == 2 * TRAIN - 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("readme.txt", "unknown file; the folder of a split holds WAV files only"),
        ("fan.wav", "unknown file name for 2025, whose clips are named like section_00_source_train_normal"),
        ("section_00_source_test_normal_0099_n_A.wav", "is in train/ but its name is that of a test clip"),
        ("section_00_source_train_anomaly_0099_n_A.wav", "is an anomaly by its name, but training clips are normal"),
        ("section_00_0099.wav", "unknown file name for 2025"),
        ("section_00_source_train_normal_0000_n_Z.wav", "_0000_unit_.*: is a duplicate, .*_0000_n_Z.wav has the same"),
    ],
)
def test_unknown_and_repeated_files_are_named(tree, name, message):
    root = dev(tree(2025))
    source = sorted((root / "fan" / "train").iterdir())[0]
    shutil.copyfile(source, root / "fan" / "train" / name)
    with pytest.raises(ValueError, match=message):
        load_dcase(root)


def test_a_machine_in_both_halves_with_the_same_clips(tree):
    root = tree(2025)
    # Evaluation machines are other machines than those of development: the same name and clip twice is a mistake.
    shutil.rmtree(root / "eval_data")
    shutil.copytree(root / "dev_data" / "fan", root / "eval_data" / "fan")
    with pytest.raises(ValueError, match="occurs twice, also as .*dev_data/fan.*Keep one of the two"):
        load_dcase(root)


def test_bad_options():
    with pytest.raises(ValueError, match="year is 2019; accepted are 2020 to 2026"):
        load_dcase(".", 2019)
    with pytest.raises(ValueError, match="subset is 'test'; accepted are 'dev', 'eval' and None"):
        load_dcase(".", subset="test")
