"""The ZIP for the challenge: its layout, what is filled in, and what is refused."""

import csv
import io
import shutil
import zipfile

import numpy as np
import pytest
import soundfile
import yaml
from datasets import Dataset
from submissions import ENTRIES, set_machines, write_entries, write_report
from trainings import tiny_encoder

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.cli import main
from hf_asd.data.schema import write_table
from hf_asd.evaluation.submission import write_submission
from hf_asd.files import write_json
from hf_asd.recipe.submission_package import write_package


DESCRIPTION = {
    "input_sampling_rate": "16kHz",
    "data_augmentation": "mixing with other clips, SpecAugment",
    "front_end": "near-minus-far",
    "acoustic_features": "log-mel energies",
    "embeddings": "encoder",
    "machine_learning_method": "transformer (eat), classification with arcface, cosine distance to the nearest normal "
    "recordings, Mahalanobis distance from the mean of the normal recordings",
    "aggregation_method": "mean",
    "domain_adaptation_method": None,
    "domain_generalization_method": "score normalization (ratio)",
    "ensemble_method_subsystem_count": 2,
    "decision_making": "minimum",
    "attribute_usage": "attributes and pseudo-attributes as classes",
    "external_data_usage": "pre-trained model",
    "development_data_usage": "development, fine-tuning",
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A detector of two machines with a tiny EAT."""
    folder, rng = tmp_path_factory.mktemp("fitted"), np.random.default_rng(0)
    for machine in ("fan", "Polisher"):
        (folder / "clips" / machine).mkdir(parents=True)
        for clip in range(6):
            soundfile.write(folder / "clips" / machine / f"{clip}.wav", 0.1 * rng.standard_normal(8000), 16_000)
    config = DetectorConfig(backends=("cosine", "mahalanobis"), fusion="min", normalization=("ratio", "none"))
    encoder = tiny_encoder(folder / "encoder")
    detector = AnomalyDetector(encoder, config).fit(load_folder(folder / "clips")["train"])
    detector.save_pretrained(folder / "detector")
    return folder


@pytest.fixture
def run(fitted, tmp_path, monkeypatch):
    """A finished run of 2025 as a recipe leaves it: a machine with labels, and one of the evaluation set without."""
    set_machines(monkeypatch, 2025, ("fan",), ("Polisher",))
    runs, channel = tmp_path / "runs", {"channel": "near-minus-far"}
    finetune = {"loss": "arcface", "noise_probability": 0.5, "time_mask": 80, "frequency_mask": 80, "mixup": 0.0}
    records = {
        "data": {"options": {"year": 2025, **channel}},
        "pretrain": {"options": {"encoder": str(fitted / "encoder"), "datasets": [], "eq_db": 3.0}},
        "cluster": {"options": {}, "upstream embed": "embed-0"},
        "embed": {"options": {}, "upstream data": "data-0", "upstream pretrain": "pretrain-0"},
        "finetune": {"options": finetune},
        "fit": {"options": {}, "skip": ["pretrain"]},
        "score": {"options": {}, "upstream data": "data-0", "upstream fit": "fit-0"},
    }
    records["fit"] |= {f"upstream {stage}": f"{stage}-0" for stage in ("pretrain", "cluster", "finetune")}
    for stage, record in records.items():
        (runs / f"{stage}-0").mkdir(parents=True)
        write_json(runs / f"{stage}-0" / "stage.json", {"stage": stage, **record})
    write_json(runs / "data-0" / "skipped.json", [])
    shutil.copytree(fitted / "detector", runs / "fit-0" / "detector")
    labeled = [f"fan/test/section_00_{domain}_test_{condition}_0000" for domain, condition in labels()]
    clips = [*labeled, *(f"Polisher/test/section_00_{number:04d}" for number in range(4))]
    scored = Dataset.from_dict(
        {
            "clip_id": clips,
            "machine": [clip.split("/")[0] for clip in clips],
            "section": ["00"] * 8,
            "domain": [domain for domain, _ in labels()] + ["unknown"] * 4,
            "condition": [condition for _, condition in labels()] + ["unknown"] * 4,
            "anomaly_score": [1.0, 2.5, 2.0, 3.0, 0.5, 1.5, 2.5, 3.5],
            "is_anomaly": [False, True, True, True, False, False, True, True],
        }
    )
    write_table(scored, runs / "score-0" / "test.parquet")
    write_submission(scored, runs / "score-0" / "submission", 2025)
    return runs / "score-0"


def labels():
    return [("source", "normal"), ("source", "anomaly"), ("target", "normal"), ("target", "anomaly")]


def contents(package):
    with zipfile.ZipFile(package) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_layout_and_meta_information(run, tmp_path, capsys):
    files = [f"--entries={write_entries(tmp_path)}", f"--report={write_report(tmp_path)}"]
    assert main(["submission", str(run), *files, f"--output={tmp_path / 'out.zip'}"]) == 0
    found = contents(tmp_path / "out.zip")
    own = "task2/Kim_UoX_task2_1"
    assert list(found) == [
        f"{own}/Kim_UoX_task2_1.meta.yaml",
        f"{own}/anomaly_score_Polisher_section_00_test.csv",
        f"{own}/decision_result_Polisher_section_00_test.csv",
        f"{own}.technical_report.pdf",
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"Kim_UoX_task2_1: Nearest neighbors (encoder, mean), {run}",
        f"submission: {tmp_path / 'out.zip'}",
    ]
    scores = dict(csv.reader(io.StringIO(found[f"{own}/anomaly_score_Polisher_section_00_test.csv"].decode())))
    assert scores == {f"section_00_{number:04d}.wav": str(number + 0.5) for number in range(4)}
    decisions = found[f"{own}/decision_result_Polisher_section_00_test.csv"].decode().splitlines()
    assert decisions == [f"section_00_{number:04d}.wav,{int(number > 1)}" for number in range(4)]
    meta = yaml.safe_load(found[f"{own}/Kim_UoX_task2_1.meta.yaml"])
    assert list(meta) == ["submission", "system", "results"]
    assert meta["submission"] == {
        "label": "Kim_UoX_task2_1",
        "name": "Nearest neighbors",
        "abbreviation": "kNN",
        "authors": ENTRIES["authors"],
    }
    assert meta["system"]["description"] == DESCRIPTION
    assert meta["system"]["external_datasets"] == ENTRIES["external_datasets"]
    assert meta["system"]["source_code"] is None
    # Source: its normal clip against both anomalous ones; target: 2.0 against 2.5 and 3.0.
    assert meta["results"]["development_dataset"] == {"fan": {"auc_source": 100.0, "auc_target": 100.0, "pauc": 100.0}}


def test_parameters_and_macs_are_those_of_the_encoder(run, tmp_path):
    """998 frames are filled up to 63 patches along time, 8 along frequency; and there is a CLS token."""
    write_package([run], write_entries(tmp_path), write_report(tmp_path), tmp_path / "out.zip")
    meta = yaml.safe_load(contents(tmp_path / "out.zip")["task2/Kim_UoX_task2_1/Kim_UoX_task2_1.meta.yaml"])
    size, patches, inner = 32, 63 * 8, 32
    mel = 998 * 32 * 261  # four groups of 32 mel bands, with 261 bins of the spectrum together
    tokens = patches + 1
    layer = 4 * tokens * size**2 + 2 * tokens**2 * size + 2 * tokens * size * inner
    norms, linear = 3 * 2 * size, 4 * (size**2 + size) + 2 * size * inner + inner + size
    assert meta["system"]["complexity"] == {
        "total_parameters": 256 * size + size + size + linear + norms,
        "MACS": mel + patches * 256 * size + layer,
    }


def test_four_systems_and_words_of_the_author(run, tmp_path):
    systems = [{"name": f"System {number}", "abbreviation": f"S{number}"} for number in range(1, 5)]
    systems[3]["description"] = {"domain_adaptation_method": "fine-tuning", "front_end": None}
    runs = [run]
    for number in (1, 2, 3):
        shutil.copytree(run, run.with_name(f"score-{number}"))
        runs.append(run.with_name(f"score-{number}"))
    entries, report = write_entries(tmp_path, systems=systems), write_report(tmp_path)
    write_package(runs, entries, report, tmp_path / "out.zip")
    found = contents(tmp_path / "out.zip")
    metas = [yaml.safe_load(text) for name, text in found.items() if name.endswith(".meta.yaml")]
    assert [meta["submission"]["label"] for meta in metas] == [f"Kim_UoX_task2_{number}" for number in (1, 2, 3, 4)]
    changed = DESCRIPTION | {"domain_adaptation_method": "fine-tuning", "front_end": None}
    assert [meta["system"]["description"] for meta in metas] == [DESCRIPTION] * 3 + [changed]
    assert len([name for name in found if name.endswith(".csv")]) == 8
    first = (tmp_path / "out.zip").read_bytes()
    write_package(runs, entries, report, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").read_bytes() == first


def test_what_only_the_author_knows_is_not_invented(run, tmp_path):
    report = write_report(tmp_path)
    with pytest.raises(ValueError) as refused:
        write_package([run], "recipes/submission.yaml", report, tmp_path / "out.zip")
    names = ["label", "authors.1.lastname", "authors.1.firstname", "authors.1.email"]
    names += ["authors.1.affiliation.institution", "authors.1.affiliation.location"]
    names += ["systems.1.name", "systems.1.abbreviation"]
    assert f"lacks what only you know: {', '.join(names)}" in str(refused.value)
    author = ENTRIES["authors"][1]
    for changes, message in (
        (
            {"external_datasets": None},
            "system 1 starts from encoder; list in external_datasets what it was trained on",
        ),
        ({"authors": [author]}, "0 authors are corresponding; give corresponding: true to exactly one"),
        ({"label": "Kim"}, "label is 'Kim': String should match pattern"),
        ({"terms_of_code": "MIT"}, "terms_of_code is 'MIT': Extra inputs are not permitted"),
        ({"systems": [{"name": "a", "abbreviation": "much too long"}]}, r"systems.1.abbreviation is 'much too long'"),
        ({"systems": ENTRIES["systems"] * 2}, "name is the same for two systems"),
        (
            {"systems": [{"name": "a", "abbreviation": "a"}, {"name": "b", "abbreviation": "b"}]},
            "2 entries for 1 runs",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            write_package([run], write_entries(tmp_path, **changes), report, tmp_path / "out.zip")
    with pytest.raises(FileNotFoundError, match=r"there is no such file; recipes/submission.yaml is one to fill in"):
        write_package([run], tmp_path / "none.yaml", report, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_incomplete_results_are_refused(run, tmp_path, monkeypatch):
    entries, report = write_entries(tmp_path), write_report(tmp_path)
    scores = run / "submission" / "anomaly_score_Polisher_section_00_test.csv"
    decisions = run / "submission" / "decision_result_Polisher_section_00_test.csv"
    kept = scores.read_text(), decisions.read_text()

    def refused(message, error=ValueError):
        with pytest.raises(error, match=message):
            write_package([run], entries, report, tmp_path / "out.zip")
        scores.write_text(kept[0])
        decisions.write_text(kept[1])
        assert not (tmp_path / "out.zip").exists()

    def without(number):
        for file in (scores, decisions):
            rows = file.read_text().splitlines(keepends=True)
            file.write_text("".join(row for row in rows if f"_{number:04d}.wav" not in row))

    without(1)
    refused(r"anomaly_score_Polisher_section_00_test.csv: lacks 1 recording\(s\), the first is number 0001")
    without(3)
    refused(r"are not of the same clips: 1 missing \(Polisher section_00_0003.wav\)")
    decisions.write_text("section_00_0000.wav,1\n")
    refused(r"Polisher section 00: scores and decisions are not of the same clips")
    decisions.unlink()
    refused("Polisher 00 has scores or decisions only")
    scores.write_text(kept[0].replace("section_00_0000.wav", "section_00_source_test_normal_0000.wav"))
    decisions.write_text(kept[1].replace("section_00_0000.wav", "section_00_source_test_normal_0000.wav"))
    refused("section_00_source_test_normal_0000.wav is not the name of an evaluation recording of 2025")
    write_json(run.parent / "data-0" / "skipped.json", ["data/Polisher/test/section_00_0004.wav: is silent"])
    refused("1 evaluation recordings were left out, but the challenge wants a score for each: data/Polisher/test")
    write_json(run.parent / "data-0" / "skipped.json", [])
    set_machines(monkeypatch, 2025, ("fan",), ("Polisher", "ToyPet", "AutoTrash"))
    refused("anomaly_score of AutoTrash, ToyPet is missing, which 2025's evaluation set has. Download its recordings")


def test_runs_that_cannot_be_packed(run, tmp_path):
    entries, report, output = write_entries(tmp_path), write_report(tmp_path), tmp_path / "out.zip"
    for runs, message in (
        ([], "0 systems are given; the challenge accepts 1 to 4"),
        ([run] * 5, "5 systems are given"),
        ([run, run], "a run is given twice"),
        ([run.parent / "fit-0"], "is of the stage fit; give the folder of the scores, score-[*] beside it"),
    ):
        with pytest.raises(ValueError, match=message):
            write_package(runs, entries, report, output)
    with pytest.raises(FileNotFoundError, match="holds no stage.json of a finished stage. Give the folder score-"):
        write_package([run / "submission"], entries, report, output)
    with pytest.raises(ValueError, match="is not a PDF; the challenge wants the technical report with the systems"):
        write_package([run], entries, entries, output)
    write_json(run.parent / "data-0" / "stage.json", {"stage": "data", "options": {"year": None, "channel": 0}})
    with pytest.raises(ValueError, match="the runs are of the year None; accepted is one year of 2023 to 2026"):
        write_package([run], entries, report, output)
