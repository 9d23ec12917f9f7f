"""Ground truths: the organizers' evaluators and lists, made here in miniature, and labeled trees."""

from collections import Counter

import datasets
import pytest

from hf_asd.data.dcase.ground_truth import load_ground_truth
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "default_cache")


def evaluator(folder, year, rows):
    """The organizers' evaluator: (machine, section, file, condition, domain) into its two folders."""
    for machine, section, name, condition, domain in rows:
        ending = f"{machine}_section_{section}{f'_{domain}' if year == 2021 else ''}_test.csv"
        for kind, told in (("data", condition == "anomaly"), ("domain", domain == "target")):
            (folder / f"ground_truth_{kind}").mkdir(parents=True, exist_ok=True)
            with open(folder / f"ground_truth_{kind}" / f"ground_truth_{ending}", "a") as file:
                file.write(f"{name},{int(told)}\n")
    return folder


@pytest.mark.parametrize("year", [2021, 2022, 2025])
def test_ground_truth_of_an_evaluator(tmp_path, year):
    rows = [
        ("fan", "00", "section_00_0000.wav", "anomaly", "source"),
        ("fan", "00", "section_00_0001.wav", "normal", "target"),
        ("3DPrinter", "00", "section_00_0000.wav", "normal", "source"),
    ]
    expected = {(row[0], row[2]): {"condition": row[3], "domain": row[4]} for row in rows}
    assert load_ground_truth(evaluator(tmp_path / "e", year, rows), year) == expected
    assert load_ground_truth(tmp_path / "e" / "ground_truth_data", year) == expected


def test_faults_of_an_evaluator_are_named(tmp_path):
    rows = [("fan", "00", f"section_00_000{number}.wav", "normal", "source") for number in range(3)]
    folder = evaluator(tmp_path / "e", 2025, rows)
    with pytest.raises(ValueError, match="is not a file name of a ground truth of 2021"):
        load_ground_truth(folder, 2021)
    table = folder / "ground_truth_domain" / "ground_truth_fan_section_00_test.csv"
    table.write_text("section_00_0000.wav,0\n")
    with pytest.raises(ValueError, match="lists no domain for section_00_0001.wav"):
        load_ground_truth(folder)
    table.write_text("section_00_0000.wav,0\nsection_00_0000.wav,0\n")
    with pytest.raises(ValueError, match="line 2: section_00_0000.wav is listed twice"):
        load_ground_truth(folder)
    table.write_text("section_00_0000.wav,source\n")
    with pytest.raises(ValueError, match="line 1: .*accepted is <file name>,<0 or 1>"):
        load_ground_truth(folder)
    table.unlink()
    with pytest.raises(FileNotFoundError, match="there is no such file; the ground truth needs it"):
        load_ground_truth(folder)
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        load_ground_truth(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("year", "row", "truth"),
    [
        (2020, "id_01_00000000.wav,anomaly_id_01_00000064.wav,1", ("anomaly", "unknown")),
        (2021, "section_03_source_test_0000.wav,section_03_source_test_anomaly_0000.wav", ("anomaly", "source")),
        (2022, "section_03_0001.wav,section_03_target_test_anomaly_0001_vel_25.wav", ("anomaly", "target")),
        (2024, "section_00_0003.wav,section_00_source_normal_0003_m_1.wav", ("normal", "source")),
        (2025, "section_00_0001.wav,section_00_target_test_normal_0031_id_C1_spd_2.wav", ("normal", "target")),
    ],
)
def test_ground_truth_of_a_list(tmp_path, year, row, truth):
    file = tmp_path / f"eval_data_list_{year}.csv"
    file.write_text(f"bearing\n{row}\nfan\n{row}\n")
    name = row.split(",")[0]
    expected = {
        (machine, name): dict(zip(("condition", "domain"), truth, strict=True)) for machine in ("bearing", "fan")
    }
    assert load_ground_truth(file, year) == load_ground_truth(tmp_path, year) == expected
    file.write_text(f"{row}\n")
    with pytest.raises(ValueError, match="line 1: .*a machine's name alone on a line"):
        load_ground_truth(file, year)
    file.write_text(f"fan\n{row}\n{row}\n")
    with pytest.raises(ValueError, match=f"line 3: fan {name} is listed twice"):
        load_ground_truth(file, year)


def test_a_label_that_its_name_contradicts(tmp_path):
    file = tmp_path / "eval_data_list_2020.csv"
    file.write_text("fan\nid_01_00000000.wav,anomaly_id_01_00000064.wav,0\n")
    with pytest.raises(ValueError, match="line 2: the label 0 contradicts the name anomaly_id_01_00000064.wav"):
        load_ground_truth(file, 2020)


def test_the_faulty_list_of_2022_is_refused(tmp_path):
    file = tmp_path / "eval_data_list_2022.csv"
    file.write_text(
        "ToyCar\nsection_03_0000.wav,section_03_target_test_anomaly_0011_car_G2.wav\n"
        "fan\nsection_03_0000.wav,section_03_source_test_normal_0000_m-n_X.wav\n"
    )
    with pytest.raises(ValueError, match=r"the faulty list of 2022. In 1 rows \(ToyCar\).*evaluator of 2022"):
        load_ground_truth(file, 2022)


def test_a_labeled_tree_is_its_own_ground_truth(tmp_path):
    sizes = {"num_source_train": 2, "num_target_train": 1, "num_test": 3, "clip_seconds": 1.0}
    factory = write_factory(FactoryConfig(machines=("fan",), **sizes), tmp_path / "factory")
    truth = load_ground_truth(factory)
    assert Counter(tuple(told.values()) for told in truth.values()) == {
        (condition, domain): 3 for condition in ("normal", "anomaly") for domain in ("source", "target")
    }
    assert all((factory / machine / "test" / name).is_file() for machine, name in truth)
    for number, file in enumerate(sorted((factory / "fan" / "test").iterdir())):
        file.rename(file.with_name(f"section_00_{number:04d}.wav"))
    (factory / "fan" / "attributes_00.csv").unlink()
    with pytest.raises(ValueError, match="the names of its test clips do not contain their condition"):
        load_ground_truth(factory)
