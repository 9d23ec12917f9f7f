"""Official tables of scored datasets and submission folders, and comparisons of two systems."""

import numpy as np
import pytest
from datasets import Dataset

from hf_asd.evaluation.scores import (
    compare_scores,
    compare_systems,
    evaluate_scores,
    evaluate_submission,
    format_comparison,
    format_table,
)
from hf_asd.evaluation.submission import write_submission
from hf_asd.metrics.official_score import score_table


MACHINES = ("fan", "valve")


def scored(strength: float = 1.5, seed: int = 0, num_clips: int = 25, machines=MACHINES, **columns) -> Dataset:
    random = np.random.default_rng(seed)
    rows = []
    for machine in machines:
        numbers = iter(range(1000))
        for domain in ("source", "target"):
            for condition in ("normal", "anomaly"):
                for _ in range(num_clips):
                    score = random.normal() + strength * (condition == "anomaly")
                    rows.append(
                        {
                            "machine": machine,
                            "section": "00",
                            "domain": domain,
                            "condition": condition,
                            "clip_id": f"{machine}/test/section_00_{next(numbers):04d}",
                            "anomaly_score": score,
                            "is_anomaly": bool(score > 1),
                        }
                    )
    dataset = Dataset.from_list(rows)
    for name, values in columns.items():
        dataset = dataset.remove_columns(name).add_column(name, values)
    return dataset


def as_submission(folder, dataset, year=2025):
    """Result files as a participant hands them in: published names, no domain, no condition."""
    hidden = dataset.remove_columns("domain").add_column("domain", ["unknown"] * len(dataset))
    write_submission(hidden if year != 2021 else dataset, folder, year)
    return folder


def as_evaluator(folder, dataset):
    for kind, column, one in (("data", "condition", "anomaly"), ("domain", "domain", "target")):
        (folder / f"ground_truth_{kind}").mkdir(parents=True, exist_ok=True)
        for machine in set(dataset["machine"]):
            rows = dataset.filter(lambda row, machine=machine: row["machine"] == machine)
            table = folder / f"ground_truth_{kind}" / f"ground_truth_{machine}_section_00_test.csv"
            lines = [f"{row['clip_id'].split('/')[-1]}.wav,{int(row[column] == one)}\n" for row in rows]
            table.write_text("".join(lines))
    return folder


@pytest.mark.parametrize("year", range(2020, 2027))
def test_a_scored_dataset_has_the_table_of_its_columns(year):
    dataset = scored()
    result = evaluate_scores(dataset, year)
    labels = (np.array(dataset["condition"][:]) == "anomaly").astype(int)
    columns = (labels, *(dataset[name][:] for name in ("anomaly_score", "machine", "section", "domain")))
    assert result == score_table(*columns, year, decisions=np.array(dataset["is_anomaly"][:]).astype(int))
    assert list(result["machines"]) == list(MACHINES) and len(result["sections"]) == 2


def test_the_interval_is_asked_for():
    result = evaluate_scores(scored(), resamples=100, confidence=0.8)
    low, high = result["confidence_interval"]
    assert low < result["official_score"] < high and (result["confidence"], result["resamples"]) == (0.8, 100)
    assert "confidence_interval" not in evaluate_scores(scored())
    assert (
        result["confidence_interval"]
        == evaluate_scores(scored(), resamples=100, confidence=0.8)["confidence_interval"]
    )


def test_without_decisions():
    result = evaluate_scores(scored().remove_columns("is_anomaly"))
    assert not any(name.startswith("f1") for name in result["sections"][0])
    assert "f1" not in format_table(result) and "f1 source" in format_table(evaluate_scores(scored()))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            scored().remove_columns(["anomaly_score", "condition"]),
            "the dataset lacks condition, anomaly_score; it has",
        ),
        (scored(condition=["unknown"] * 200), "200 of 200 clips have the condition unknown.*give the ground truth"),
        (scored(condition=["normal"] * 200), "fan, section 00: none of the 100 clips is anomalous"),
        (scored(anomaly_score=[float("nan")] * 200), "fan, section 00: 100 of 100 scores are NaN"),
        (scored(domain=["unknown"] * 200), r"fan, section 00: .*unknown: \['unknown'\].*The score of 2020"),
    ],
    ids=["columns", "conditions", "one class", "nan", "domains"],
)
def test_what_cannot_be_scored(dataset, message):
    with pytest.raises(ValueError, match=message):
        evaluate_scores(dataset)


def test_a_submission_has_the_score_of_its_dataset_whatever_the_order(tmp_path):
    dataset = scored()
    truth = as_evaluator(tmp_path / "truth", dataset)
    folder = as_submission(tmp_path / "a", dataset.shuffle(seed=1))
    result, expected = evaluate_submission(folder, truth, resamples=0), evaluate_scores(dataset)
    assert result["official_score"] == pytest.approx(expected["official_score"], abs=1e-15)
    assert format_table(result) == format_table(expected)
    assert "confidence_interval" in evaluate_submission(folder, truth, resamples=20)


def test_names_that_were_revealed_after_the_challenge_are_mapped_back(tmp_path):
    """As the evaluators of 2023 and later do, by `ground_truth_attributes`; also by the organizers' list."""
    dataset = scored()
    truth = as_evaluator(tmp_path / "truth", dataset)
    folder = as_submission(tmp_path / "published", dataset)
    expected = evaluate_submission(folder, truth, resamples=0)
    (truth / "ground_truth_attributes").mkdir()
    revealed = tmp_path / "revealed"
    revealed.mkdir()
    for file in folder.iterdir():
        lines = file.read_text()
        for number, row in enumerate(dataset.filter(lambda row, name=file.name: f"_{row['machine']}_" in name)):
            name = row["clip_id"].split("/")[-1]
            original = f"section_00_{row['domain']}_test_{row['condition']}_{number:04d}_ac_0.{number}"
            lines = lines.replace(f"{name}.wav,", f"{original}.wav,")
            table = truth / "ground_truth_attributes" / f"ground_truth_{row['machine']}_section_00_test.csv"
            with open(table, "a") as rows:
                rows.write(f"{name}.wav,{original}\n")
        (revealed / file.name).write_text(lines)
    assert "_ac_0." in next(revealed.iterdir()).read_text()
    assert evaluate_submission(revealed, truth, resamples=0) == expected


@pytest.mark.parametrize(("year", "published"), [(2020, "id_05_{:08d}"), (2021, "section_03_{}_test_{:04d}")])
def test_submissions_of_the_first_two_years(tmp_path, year, published):
    section = "05" if year == 2020 else "03"
    dataset = scored(section=[section] * 200)
    names, truth = [], []
    for number, row in enumerate(dataset.select(range(100))):
        names.append(published.format(number) if year == 2020 else published.format(row["domain"], number))
        told = f"{row['condition']}_id_{section}_{number:08d}"
        told = f"section_{section}_{row['domain']}_test_{row['condition']}_{number:04d}" if year == 2021 else told
        truth.append(f"{names[-1]}.wav,{told}.wav\n")
    clips = [f"{machine}/test/{name}" for machine in MACHINES for name in names]
    dataset = dataset.remove_columns("clip_id").add_column("clip_id", clips)
    file = tmp_path / f"eval_data_list_{year}.csv"
    file.write_text("".join(f"{machine}\n{''.join(truth)}" for machine in MACHINES))
    result = evaluate_submission(as_submission(tmp_path / "a", dataset, year), file, year, resamples=0)
    expected = evaluate_scores(dataset, year)
    assert result["official_score"] == pytest.approx(expected["official_score"], abs=1e-15)
    assert [row["section"] for row in result["sections"]] == [section] * 2


def test_submissions_of_other_clips_name_them(tmp_path):
    dataset = scored()
    truth = as_evaluator(tmp_path / "truth", dataset)
    folder = as_submission(tmp_path / "a", dataset)
    for file in folder.iterdir():
        file.write_text(file.read_text().replace("section_00_0007.wav", "section_00_0700.wav"))
    with pytest.raises(
        ValueError, match=r"2 missing \(fan section_00_0007.wav, valve .*\) and 2 surplus \(fan .*_0700"
    ):
        evaluate_submission(folder, truth)
    with pytest.raises(ValueError, match="100 missing"):
        evaluate_submission(as_submission(tmp_path / "b", scored(machines=("fan",))), truth)


def test_the_table_holds_every_number_in_percent():
    result = evaluate_scores(scored(), resamples=20)
    lines = format_table(result).splitlines()
    assert lines[0].split() == "machine auc source auc target pauc official f1 source f1 target".split()
    for line, section in zip(lines[1:3], result["sections"], strict=True):
        words = line.split()
        assert words[:2] == [section["machine"], "00"]
        names = ["auc_source", "auc_target", "pauc"]
        assert words[2:5] == [f"{100 * section[name]:.2f}" for name in names]
        assert words[5] == f"{100 * result['machines'][section['machine']]['official_score']:.2f}"
    assert lines[3].startswith("harmonic mean") and lines[3].split()[-1] == f"{100 * result['official_score']:.2f}"
    assert f"official score 2025: {100 * result['official_score']:.2f} % (95 % confidence interval" in lines[4]
    assert format_table(evaluate_scores(scored(), 2020)).splitlines()[3].startswith("mean ")


def test_a_comparison_pairs_the_clips_and_tells_which_is_better(tmp_path):
    weak, strong = scored(0.5), scored(3.0)
    result = compare_scores(weak, strong.shuffle(seed=3), resamples=200)
    assert result["a"] == evaluate_scores(weak)
    assert result["difference"] == pytest.approx(result["b"]["official_score"] - result["a"]["official_score"])
    low, high = result["confidence_interval"]
    assert 0 < low < result["difference"] < high and result["p_value"] < 0.02
    for machine in MACHINES:
        found = result["b"]["machines"][machine]["official_score"] - result["a"]["machines"][machine]["official_score"]
        assert result["machines"][machine] == pytest.approx(found)
    text = format_comparison(result, "weak", "strong")
    assert "strong is better" in text and len(text.splitlines()) == 5
    assert ": strong is better" in format_comparison(compare_scores(strong, weak, resamples=200), "strong", "weak")
    truth = as_evaluator(tmp_path / "truth", weak)
    folders = [as_submission(tmp_path / name, system) for name, system in (("a", weak), ("b", strong))]
    again = compare_systems(*folders, truth, resamples=200)
    assert again["difference"] == pytest.approx(result["difference"])
    # Long names of systems do not break the table.
    assert "...ssssssssssssssss" in format_comparison(again, "s" * 40, "b")


def test_a_system_does_not_differ_from_itself():
    result = compare_scores(scored(), scored(), resamples=50)
    assert result["difference"] == 0 and result["confidence_interval"] == (0, 0) and result["p_value"] == 1
    assert "no clear difference" in format_comparison(result)


def test_pairing_is_worth_it():
    """A little better on the same clips: alone, the two intervals overlap; paired, the difference is clear."""
    first = scored(1.0, num_clips=50)
    random = np.random.default_rng(7)
    better = np.array(first["anomaly_score"][:]) + 0.25 * (np.array(first["condition"][:]) == "anomaly")
    second = scored(1.0, num_clips=50, anomaly_score=(better + 0.05 * random.normal(size=400)).tolist())
    result = compare_scores(first, second, resamples=300)
    alone = [evaluate_scores(system, resamples=300)["confidence_interval"] for system in (first, second)]
    assert alone[0][1] > alone[1][0] and result["confidence_interval"][0] > 0


def test_systems_that_cannot_be_compared():
    with pytest.raises(ValueError, match="the first system and the second are not of the same clips: 100 surplus"):
        compare_scores(scored(), scored(machines=("fan",)))
    flipped = ["anomaly" if condition == "normal" else "normal" for condition in scored()["condition"]]
    with pytest.raises(ValueError, match="disagree on the labels of 200 clips, such as fan/test/section_00_0000"):
        compare_scores(scored(), scored(condition=flipped))
