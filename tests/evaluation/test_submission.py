"""Result files: written and read back, and every way in which a hand-made one can be wrong."""

import pytest
from datasets import Dataset

from hf_asd.evaluation.submission import check_same_clips, read_submission, write_submission


def scored(machine: str = "fan", count: int = 4, **columns) -> Dataset:
    return Dataset.from_dict(
        {
            "machine": [machine] * count,
            "section": ["00"] * count,
            "domain": ["source", "target"] * (count // 2),
            "clip_id": [f"{machine}/test/section_00_{number:04d}" for number in range(count)],
            "anomaly_score": [0.1 * number + 1e-17 for number in range(count)],
            "is_anomaly": [number > 1 for number in range(count)],
            **columns,
        }
    )


@pytest.mark.parametrize(
    ("year", "names"),
    [
        (2020, ["anomaly_score_fan_id_00.csv"]),
        (
            2021,
            [
                "anomaly_score_fan_section_00_source_test.csv",
                "anomaly_score_fan_section_00_target_test.csv",
                "decision_result_fan_section_00_source_test.csv",
                "decision_result_fan_section_00_target_test.csv",
            ],
        ),
        (2025, ["anomaly_score_fan_section_00_test.csv", "decision_result_fan_section_00_test.csv"]),
    ],
)
def test_what_is_written_is_read_back_to_the_last_digit(tmp_path, year, names):
    files = write_submission(scored(), tmp_path, year)
    assert sorted(file.name for file in files) == sorted(file.name for file in tmp_path.iterdir()) == names
    found = sorted(read_submission(tmp_path, year).to_list(), key=lambda row: row["file_name"])
    assert [row["anomaly_score"] for row in found] == scored()["anomaly_score"][:]
    assert [row["is_anomaly"] for row in found] == ([None] * 4 if year == 2020 else [False, False, True, True])
    assert found[1]["domain"] == ("target" if year == 2021 else "unknown")
    first = (tmp_path / names[0]).read_text().splitlines()[0]
    assert first == "section_00_0000.wav,1e-17", "no header, file name and value"


def test_a_second_result_replaces_the_first_but_not_that_of_others(tmp_path):
    write_submission(scored(), tmp_path)
    write_submission(scored(anomaly_score=[1.0, 2.0, 3.0, 4.0]), tmp_path)
    assert read_submission(tmp_path)["anomaly_score"][:] == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(FileExistsError, match="holds anomaly_score_fan_section_00_test.csv, decision_result_fan"):
        write_submission(scored("valve"), tmp_path)
    assert not list(tmp_path.glob("*valve*")) and not list(tmp_path.glob("*.partial"))


def test_names_of_the_organizers_baseline_are_read(tmp_path):
    rows = "section_00_0000.wav,0.5\nsection_00_0001.wav,0.7\n"
    for machine in ("3DPrinter", "ToyCar"):
        name = f"DCASE2024T2{machine}_section_00_test_seed13711_id(0_)_Eval.csv"
        (tmp_path / f"anomaly_score_{name}").write_text(rows)
        (tmp_path / f"decision_result_{name}").write_text(rows.replace("0.5", "0").replace("0.7", "1"))
    found = read_submission(tmp_path, 2024)
    assert found["machine"][:] == ["3DPrinter"] * 2 + ["ToyCar"] * 2
    assert found["is_anomaly"][:] == [False, True] * 2
    (tmp_path / "anomaly_score_ToyCar_section_00_test.csv").write_text(rows)
    with pytest.raises(ValueError, match="is about the same clips as anomaly_score_DCASE2024T2ToyCar"):
        read_submission(tmp_path, 2024)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anomaly_score": [0.0, float("nan"), 1.0, 2.0]}, "fan/test/section_00_0001: its anomaly_score is nan"),
        ({"anomaly_score": [0.0, float("inf"), 1.0, 2.0]}, "its anomaly_score is inf; accepted are finite ones"),
        ({"clip_id": ["fan/test/a"] * 4}, "fan/test/a: occurs twice in the dataset"),
    ],
)
def test_what_is_not_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_submission(scored(**change), tmp_path)
    assert not any(tmp_path.iterdir())


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(ValueError, match="the dataset lacks anomaly_score, is_anomaly; it has machine"):
        write_submission(scored().remove_columns(["anomaly_score", "is_anomaly"]), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("anomaly_score_fan_section_00_test.csv", "a.wav,0.1\na.wav,0.2\n", "line 2: a.wav occurs twice"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav,high\n", "line 1: 'high' is not a number"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav,nan\n", "line 1: 'nan' is not a finite anomaly score"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav 0.1\n", "line 1: has 1 values; accepted is <file name>"),
        ("anomaly_score_fan_section_00_test.csv", "", "is empty"),
        (
            "anomaly_score_fan_00.csv",
            "a.wav,0.1\n",
            "unknown name; accepted for 2025 are names like anomaly",
        ),
        ("decision_result_fan_section_00_test.csv", "a.wav,2\n", "line 1: '2' is not a decision; accepted are 0"),
        ("decision_result_fan_section_00_test.csv", "b.wav,1\n", r"1 missing \(b.wav\) and 1 surplus \(a.wav\)"),
        ("decision_result_valve_section_00_test.csv", "a.wav,1\n", "fan 00, valve 00 has scores or decisions only"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, name, text, message):
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("a.wav,0.1\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_submission(tmp_path)


def test_folders_without_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        read_submission(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no result file; accepted for 2020 are names like"):
        read_submission(tmp_path, 2020)
    with pytest.raises(ValueError, match="year is 2019; accepted are 2020 to 2026"):
        read_submission(tmp_path, 2019)


def test_long_differences_are_cut_short():
    with pytest.raises(ValueError, match=r"7 missing \(fan 0, fan 1, fan 2, fan 3, fan 4, \.\.\.\) in the first"):
        check_same_clips([], [("fan", str(number)) for number in range(7)], "these", "those")
    check_same_clips(["a"], ["a"], "these", "those")
