"""What the Hub reads of a pushed detector besides its card: results, sounds for the widget, collections."""

import io

import numpy as np
import pytest
import soundfile
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.hub.model_card import record_evaluation


RATE = 16_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two detectors' folders, `fan 1` and `pump`."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("plant")
    folders = []
    for machine, name in (("fan", "fan 1"), ("pump", "pump")):
        (root / "clips" / machine).mkdir(parents=True)
        for clip in range(6):
            soundfile.write(root / "clips" / machine / f"{clip}.wav", 0.1 * rng.standard_normal(RATE), RATE)
        folders.append(
            AnomalyDetector().fit(load_folder(root / "clips" / machine)).save_pretrained(root / "plant" / name)
        )
    return folders


def test_results_stand_in_the_files_that_the_hub_reads_beside_the_model_index(hub, folders):
    folder = folders[0]
    detector = AnomalyDetector.from_pretrained(folder)
    rows = load_folder(folder.parents[1] / "clips" / "fan")["train"]
    conditions = ["normal", "anomaly"] * 3
    test = rows.remove_columns("condition").add_column("condition", conditions)
    test = test.remove_columns("domain").add_column("domain", ["source", "source", "target"] * 2)
    evaluation = record_evaluation(folder, detector.score(test), resamples=20)
    assert main(["push", str(folder), "me/asd-fan", "--dataset", "me/recordings"]) == 0
    files = hub.repo("me/asd-fan").files
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/dcase_score.yaml"]))
    (listed,) = ModelCard(files["README.md"].decode()).data.eval_results
    assert (entry.dataset_id, entry.task_id) == ("me/recordings", "fan") == (listed.dataset_type, listed.dataset_name)
    score = evaluation["machines"]["fan"]["official_score"]
    assert entry.value == listed.metric_value == pytest.approx(score, abs=1e-6)
    assert "DCASE Task 2, 2025" in entry.notes and "95 % confidence interval" in entry.notes
    assert entry.source_url.endswith("me/asd-fan/blob/main/scores.parquet") and "scores.parquet" in files
    # A leaderboard belongs to a dataset on the Hub: without one there are no such results, and old ones go.
    assert main(["push", str(folder), "me/asd-fan"]) == 0
    assert not any(name.startswith(".eval_results") for name in hub.repo("me/asd-fan").files)
    for name in ("evaluation.json", "scores.parquet"):
        (folder / name).unlink()
    assert main(["push", str(folder), "me/asd-fan", "--dataset", "me/recordings"]) == 0
    assert not any(name.startswith(".eval_results") for name in hub.repo("me/asd-fan").files)


def test_the_widget_plays_a_normal_and_an_anomalous_clip_of_a_simulated_fan(hub, folders):
    AnomalyDetector.from_pretrained(folders[1]).push_to_hub("me/asd-pump")
    files = hub.repo("me/asd-pump").files
    card = ModelCard(files["README.md"].decode())
    assert card.data.library_name == "hf-asd" and card.data.pipeline_tag == "audio-classification"
    titles = [example["example_title"] for example in card.data.widget]
    assert titles == ["normal, a simulated fan", "anomaly, a simulated fan"]
    sounds = []
    for example in card.data.widget:
        place = example["src"].removeprefix("https://huggingface.co/me/asd-pump/resolve/main/")
        assert f"({place})" in card.text, "the card links to it as well"
        assert len(files[place]) < 70_000
        samples, rate = soundfile.read(io.BytesIO(files[place]))
        assert rate == RATE and len(samples) == 2 * RATE and 0.001 < np.std(samples) and np.abs(samples).max() < 1
        sounds.append(samples)
    # The same fan in the same room, but its fault can be heard: the imbalance swells with each turn.
    assert np.std(sounds[0] - sounds[1]) > 0.05 * np.std(sounds[0])


def test_several_detectors_go_into_a_collection_of_the_plant(hub, folders, capsys):
    assert main(["push", *map(str, folders), "org/hall3", "--license", "mit"]) == 0
    printed = capsys.readouterr().out
    assert "detector: org/hall3-fan-1\ndetector: org/hall3-pump\ncollection: " in printed
    (collection,) = hub.collections.values()
    assert collection["title"] == "hall3" and collection["private"] is True
    assert [item["id"] for item in collection["items"]] == ["org/hall3-fan-1", "org/hall3-pump"]
    assert b"license: mit" in hub.repo("org/hall3-pump").files["README.md"]
    # Once more, and one of them alone into the same collection: nothing is there twice.
    assert main(["push", *map(str, folders), "org/hall3"]) == 0
    assert main(["push", str(folders[0]), "org/other", "--collection", "hall3"]) == 0
    assert [item["id"] for item in collection["items"]] == ["org/hall3-fan-1", "org/hall3-pump", "org/other"]
    assert len(hub.collections) == 1


def test_nothing_is_pushed_where_one_of_several_is_no_detector(hub, folders, tmp_path, capsys):
    assert main(["push", str(folders[0]), str(tmp_path), "me/hall3"]) == 2
    assert f"{tmp_path}: holds no detector.json" in capsys.readouterr().err and not hub.repos
    assert main(["push", str(folders[0]), str(folders[0]), "me/hall3"]) == 2
    assert "would go to the same repository" in capsys.readouterr().err and not hub.repos


def test_one_detector_alone_makes_no_collection(hub, folders, capsys):
    assert main(["push", str(folders[1]), "me/asd-pump"]) == 0
    assert "collection" not in capsys.readouterr().out and not hub.collections
