import json

import pytest
from datasets import Dataset

from hf_asd import ClusteringConfig, assign_pseudo_attributes
from hf_asd.clustering.asdkit_labels import read_asdkit_labels, write_asdkit_labels


def clips(**columns):
    rows = {
        "clip_id": [f"fan/train/section_00_source_train_normal_{n:04d}_noAttribute" for n in range(4)]
        + ["valve/train/section_00_source_train_normal_0000_pat_0.5"],
        "machine": ["fan"] * 4 + ["valve"],
        "domain": ["source"] * 5,
        "attribute_label": [None] * 4 + ["pat=0.5"],
        "embedding": [[float(n), 0.0] for n in range(5)],
    }
    return Dataset.from_dict(rows | columns)


def test_labels_are_written_and_read_as_asdkit_does(tmp_path):
    rows = clips(pseudo_attribute=["cluster=0", "cluster=1", "cluster=0", "cluster=1", None])
    content = json.loads(write_asdkit_labels(rows, tmp_path / "labels.json", 2025).read_text())
    paths = content["path2idx_dict"]
    assert (content["num_class"], content["num_class_train"], content["num_class_test"]) == (3, 3, 0)
    first = "dcase2025/raw/fan/train/section_00_source_train_normal_0000_noAttribute.wav"
    assert list(paths)[0] == first and list(paths.values()) == [0, 1, 0, 1, 2]

    assigned = assign_pseudo_attributes(clips(), ClusteringConfig(labels_file=str(tmp_path / "labels.json")))
    assert assigned["pseudo_attribute"][:] == ["label=0", "label=1", "label=0", "label=1", None]
    assert assigned["pseudo_attribute_confidence"][:] == [1.0] * 4 + [None]


def test_faults_of_a_label_file_are_named(tmp_path):
    file = tmp_path / "labels.json"
    for text in ("{", "[]", '{"path2idx_dict": {"a.wav": 1}}', '{"path2idx_dict": {"d/raw/fan/train/a.wav": "x"}}'):
        file.write_text(text)
        with pytest.raises(ValueError, match="labels.json: is not a label file of ASDKit"):
            read_asdkit_labels(file)
    file.write_text(json.dumps({"path2idx_dict": {"dcase2025/raw/fan/train/other.wav": 0}}))
    with pytest.raises(ValueError, match="has no label for 4 clips, such as fan/train/section_00"):
        assign_pseudo_attributes(clips(), ClusteringConfig(labels_file=str(file)))
