"""Folders and tables as people have them: nothing misread, nothing left out in silence, no fault learned as normal."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd.audio.errors import BadAudioError
from hf_asd.cli import main
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.folder import load_folder, read_folder
from hf_asd.data.names import read_name


@pytest.fixture
def plant(tmp_path):
    """A function that makes files (empty: a listing opens none) and tables, and gives the folder `plant`."""

    def make(*names, **tables):
        for name in names:
            (tmp_path / "plant" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "plant" / name).touch()
        for name, content in tables.items():
            path = tmp_path / "plant" / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / "plant"

    return make


def rows(folder, machine=None, **options):
    """Path -> split, machine and condition of every recording, in words."""
    found = {}
    for split, dataset in load_folder(folder, machine, **options).items():
        for row in dataset:
            name = os.path.relpath(row["audio"]["path"], folder if folder.is_dir() else folder.parent)
            found[name] = f"{split} {row['machine']} {row['condition']}"
    return found


NORMAL = """
normal Good OK O.K. 01_OK healthy baseline reference gut i.O. iO IO in_Ordnung fehlerfrei unbeschädigt no_fault
fault-free ohne_Fehler undamaged bueno sano buen_estado normal_operation 正常 良品 正常品 合格 異常なし 无异常 ＯＫ
"""
ANOMALY = """
anomaly Abnormal anomalous bad BadBearing ng-samples NG ＮＧ nok n.i.O. NIO_Teile not_ok nicht_in_Ordnung faulty fault
defect defective broken damaged schlecht defekt Ausschuss kaputt beschädigt malo defectuoso Averiado dañado no_apto
abnormal2 2026-11-01_bad 異常 不良 不良品 不合格 故障 异常 不正常
"""
FAULT_HINTS = """
crack leak outer_race imbalance Lagerschaden Unwucht Riss worn_belt before_failure good_and_bad almost_ok
ok_after_repair positive negative grieta fuga cavitation 摩耗 裂纹
"""
SESSIONS = """
2026-11-01 20261101 2026-11-01_0800 20261101T080000Z 01.11.2026 11-25-2026 2026-W45 2026W45 KW45 2026-11 2026 251101
day1 session_2 run_B Monday November semana_2 Schicht-3 night 2026年11月1日 第3天 1日目
"""
MACHINES = """
fan_1 id_00 pump3 3 v1.2.26 5bad3f 1500rpm 2000 test_bench_3 train_bridge conveyor IR007 normalizer 20251399
"""


@pytest.mark.parametrize("name", NORMAL.split())
def test_words_for_normal(name):
    assert read_name(name).condition == "normal"


@pytest.mark.parametrize("name", ANOMALY.split())
def test_words_for_anomalies(name):
    assert read_name(name).condition == "anomaly"


@pytest.mark.parametrize("name", FAULT_HINTS.split())
def test_words_that_may_mean_a_fault_are_asked_about(name, plant):
    assert read_name(name).may_mean_fault and read_name(name).condition is None
    with pytest.raises(ValueError, match="may mean a fault(?s:.)*metadata.csv with the columns file_name"):
        load_folder(plant(f"{name}/1.wav", "fan_1/1.wav"))


@pytest.mark.parametrize("name", ["Tag 3", *SESSIONS.split()])
def test_days_and_sessions_are_not_machines(name, plant):
    folder = plant(f"{name}/1.wav", f"{name}/2.wav")
    dataset = load_folder(folder)["train"]
    assert set(dataset["machine"]) == {"plant"} and len(set(dataset["session"])) == 1 and dataset["session"][0]
    assert set(load_folder(folder, machine="fan")["train"]["machine"]) == {"fan"}
    assert load_folder(folder / name)["train"]["machine"][0] == "plant"  # given alone
    assert load_folder(folder / name)["train"]["session"][0]


@pytest.mark.parametrize("name", MACHINES.split())
def test_other_names_are_machines(name, plant):
    assert rows(plant(f"{name}/1.wav", "mill/1.wav"))[f"{name}/1.wav"] == f"train {name} normal"


@pytest.mark.parametrize("names", ["good bad", "OK NG", "i.O. n.i.O.", "正常 異常", "sano roto"])
def test_conditions_are_read_and_no_anomaly_is_learned(names, plant):
    good, bad = names.split()
    folder = plant(f"{good}/1.wav", f"{bad}/2.wav")
    assert rows(folder) == {
        f"{good}/1.wav": "train plant normal",
        f"{bad}/2.wav": "test plant anomaly",
    }
    assert rows(folder / bad) == {"2.wav": "test plant anomaly"}
    assert rows(folder / bad / "2.wav") == {"2.wav": "test plant anomaly"}
    words = read_folder(folder).summary.words
    assert words["normal"] == [good] and words["anomaly"] == [bad]


def test_the_layout_of_mvtec(plant):
    names = ("train/good/1.wav", "test/good/2.wav", "test/crack/3.wav", "test/broken_large/4.wav", "test/IR007/5.wav")
    found = rows(plant(*names))
    normal, anomaly = ["train plant normal", "test plant normal"], "test plant anomaly"
    assert [found[name] for name in names] == [*normal, anomaly, anomaly, anomaly]
    kinds = load_folder(plant())["test"]
    assert set(kinds["attribute_label"]) == {None, "folder=crack", "folder=broken_large", "folder=IR007"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("good/1.wav", "outer/2.wav"), "outer \\(1 recording\\): lies beside good, which means normal"),
        (("Normal/1.wav", "IR007/2.wav"), "lies beside Normal, which means normal"),
        (("bad/2.wav", "fan_3/1.wav"), "lies beside bad, which means anomaly"),
        (("Reject_conveyor/1.wav", "fan/2.wav"), "fan .* lies beside Reject_conveyor, which means anomaly"),
        (("train/good/1.wav", "train/hole/2.wav"), "train/hole"),
        (("train/good/1.wav", "test/hole/2.wav"), "test/hole"),
        (("train/1.wav", "new/2.wav"), "new .* lies beside train"),
        (("good/1.wav", "2.wav"), "they lie beside the folder good"),
        (("train/1.wav", "2.wav"), "they lie beside the folder train"),
        (("good/1.wav", "2026-11-01/2.wav"), "lies beside good"),
        (("good/bad/1.wav",), "it means anomaly, inside a folder that means normal"),
        (("normal/crack/1.wav",), "the name may mean a fault"),
        (("train/test/1.wav",), "test inside train"),
        (("0/1.wav", "1/1.wav"), "may mean normal and anomaly"),
        (("test_1/1.wav", "test_2/1.wav"), "a part of the test recordings, or a session"),
        (("normal_01.wav", "outer_01.wav"), "outer_01.wav.*: other names beside them say normal or anomaly"),
        (("01.wav", "crack.wav"), "crack.wav.*: the name may mean a fault"),
        (("good/1_bad.wav",), "the name means anomaly, in a folder that means normal"),
        (("1.wav", "train_labels.csv"), "train_labels.csv may say which are faulty"),
        (("1.wav", "Ground_Truth.xlsx"), "Ground_Truth.xlsx may say which are faulty"),
    ],
)
def test_what_may_be_faulty_is_asked_about(names, words, plant):
    folder = plant(*names)
    with pytest.raises(ValueError, match=words) as error:
        load_folder(folder)
    assert "metadata.csv with the columns file_name, machine, condition" in str(error.value)
    with pytest.raises(ValueError, match=words):  # a machine's name says nothing about faults
        load_folder(folder, machine="fan")
    assert {row.split()[0] for row in rows(folder, to_score=True).values()} == {"test"}

    recordings = [name for name in names if name.endswith(".wav")]
    conditions = {name: "normal" if "1" in name else "anomaly" for name in recordings}
    lines = [f"{name},mill,{condition}" for name, condition in conditions.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,machine,condition", *lines]))
    answered = {name: row.split()[1:] for name, row in rows(folder).items()}
    assert answered == {name: ["mill", condition] for name, condition in conditions.items()}
    assert not [row for row in rows(folder).values() if row.startswith("train") and row.endswith("anomaly")]


@pytest.mark.parametrize(
    "names",
    [
        ("1.wav", "new/2.wav"),
        ("2026-11-01/1.wav", "old/2.wav"),
        ("2026-11-01_fan/1.wav", "2026-11-02_pump/2.wav"),
        ("FOLDER01/1.wav", "FOLDER02/2.wav"),
        ("normal/slow/1.wav", "normal/fast/2.wav"),
    ],
)
def test_machines_that_are_not_clear_are_asked_about(names, plant):
    folder = plant(*names)
    with pytest.raises(ValueError, match="not clear which machines(?s:.)*--machine NAME"):
        load_folder(folder)
    assert set(rows(folder, machine="fan").values()) == {"train fan normal"}


def test_a_named_machine_does_not_swallow_another(plant):
    with pytest.raises(ValueError, match="pump .* lies beside fan, and all would be taken for that machine"):
        load_folder(plant("fan/1.wav", "pump/2.wav"), machine="fan")


@pytest.mark.parametrize(
    "tree",
    [
        {"1.wav": "train plant normal", "bad/2.wav": "test plant anomaly"},
        {"1.wav": "train plant normal", "test/2.wav": "test plant unknown"},
        {"wav/1.wav": "train plant normal"},
        {"validation/1.wav": "test plant unknown", "Training/2.wav": "train plant normal"},
        {"leak_tester/normal/1.wav": "train leak_tester normal", "fan/normal/2.wav": "train fan normal"},
        {"2026-11-01/fan/1.wav": "train fan normal", "2026-11-02/pump/2.wav": "train pump normal"},
        {"unknown/1.wav": "test plant unknown", "normal/2.wav": "train plant normal"},
        {"train_normal_0000.wav": "train plant normal", "section_00_target_test_anomaly_0.wav": "test plant anomaly"},
        {"normal_speed_1.wav": "train plant normal", "high_speed_2.wav": "train plant normal"},
        {"train/fan/1.wav": "train fan normal", "test/fan/2.wav": "test fan unknown"},
        {"bad/slow/1.wav": "test plant anomaly", "2.wav": "train plant normal"},
    ],
)
def test_plain_trees_are_understood(tree, plant):
    assert rows(plant(*tree)) == tree


def test_nested_dates_are_one_session(plant):
    folder = plant("2026/11/01/1.wav", "2026/11/02/2.wav")
    assert load_folder(folder)["train"]["session"][:] == ["2026/11/01", "2026/11/02"]
    alone = load_folder(folder / "2026" / "11" / "01")["train"]
    assert (alone["machine"][0], alone["session"][0]) == ("plant", "2026/11/01")


LABELED = "file_name,label\n1.wav,normal\n2.wav,anomaly\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", LABELED),
        ("Metadata.csv", LABELED),
        ("METADATA.CSV", LABELED.replace("\n", "\r\n")),
        ("metadata.csv", "File Name;Zustand\n1.wav;in Ordnung\n2.wav;defekt\n"),
        ("metadata.csv", "sep=;\nfilename;is_anomaly;load\n1.wav;0;1,5\n2.wav;1;2,5\n"),
        ("metadata.csv", "path\tIsAnomaly\n.\\1.wav\tFalse\n./2.wav\tTRUE\n"),
        ("metadata.csv", LABELED.encode("utf-8-sig")),
        ("metadata.csv", LABELED.replace(",", "\t").encode("utf-16")),
        ("metadata.csv", "Datei;Zustand\n1.wav;unbeschädigt\n2.wav;beschädigt\n".encode("cp1252")),
        ("metadata.csv", "ファイル名,判定\n1.wav,良品\n2.wav,不良品\n"),
        ("metadata.csv", "file_name,y\n1.wav,OK\n2.wav,NG\n\n"),
        ("metadata.csv", "file_name,target,is_normal\n1.wav,good,yes\n2.wav,bad,no\n"),
        ("metadata.csv", "file_name,class,faulty\n1.wav,fan,no\n2.wav,fan,yes\n"),
        ("metadata.csv", "file_name,status\n1.WAV, Normal \n2.wav,faulty\n2.wav,faulty\n"),
        ("metadata.csv", "file_name,condition,,\n1.wav,normal,,\n2.wav,bad_bearing,,\n"),
        ("metadata.tsv", LABELED.replace(",", "\t")),
        ("metadata.jsonl", '{"file_name": "1.wav", "label": "ok"}\n{"file_name": "2.wav", "label": "ng"}\n'),
        (
            "metadata.jsonl",
            '{"file_name": "1.wav", "is_anomaly": false}\n{"file_name": "2.wav", "is_anomaly": true}\n',
        ),
        ("Metadata.parquet", None),
    ],
)
def test_labels_of_tables_are_read(name, content, plant):
    folder = plant("1.wav", "2.wav")
    if content is None:
        import pandas as pd

        pd.DataFrame({"file_name": ["1.wav", "2.wav"], "is_anomaly": [0, 1]}).to_parquet(folder / name)
    else:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert rows(folder) == {"1.wav": "train plant normal", "2.wav": "test plant anomaly"}


def test_tables_of_subfolders_and_of_the_folder_above(plant):
    table = "file_name,label\n1.wav,normal\n2.wav,anomaly\n"
    folder = plant("train/1.wav", "train/2.wav", "test/3.wav", train__metadata_dot_csv=table)
    assert rows(folder)["train/2.wav"] == "test plant anomaly"
    (folder / "train" / "metadata.csv").rename(folder / "metadata.csv")
    with pytest.raises(ValueError, match=r"line 2: there is no recording '1.wav' below .*did you mean train/1.wav\?"):
        load_folder(folder)
    (folder / "metadata.csv").write_text(table.replace("1.wav", "train/1.wav").replace("2.wav", "train\\2.wav"))
    assert rows(folder)["train/2.wav"] == "test plant anomaly"
    assert rows(folder / "train")["2.wav"] == "test plant anomaly"
    assert rows(folder / "train" / "2.wav") == {"2.wav": "test plant anomaly"}
    absolute = table.replace("1.wav", f"{folder}/train/1.wav").replace("2.wav", f"{folder}/train/2.wav")
    (folder / "metadata.csv").write_text(absolute)
    assert rows(folder)["train/2.wav"] == "test plant anomaly"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            LABELED.replace("2.wav", "3.wav"),
            r"2.wav\): .*metadata.csv has a column for the condition",
        ),
        (LABELED.replace(",anomaly", ""), "metadata.csv has a column for the condition, and says nothing"),
        (LABELED + "2.wav,normal\n", r"line 4: contradicts .*line 3 about 2.wav"),
        (LABELED + "9.wav,normal\n", r"line 4: there is no recording '9.wav'"),
        (LABELED + "../9.wav,normal\n", r"line 4: there is no recording '../9.wav'"),
        (LABELED + ",normal\n", "line 4: names no file"),
        (LABELED + "3.wav,normal,slow\n", r"line 4: has 3 cells, but there are 2 columns"),
        ("file_name,label\n1.wav,0\n2.wav,1\n", "label is '0', '1', which does not say which .*is_anomaly"),
        (LABELED.replace("anomaly", "outer"), "label is 'outer'; accepted are normal, anomaly and unknown"),
        ("file_name,is_anomaly\n1.wav,no\n2.wav,maybe\n", "is_anomaly is 'maybe'; accepted are 1 and 0"),
        ("file_name,label,is_anomaly\n1.wav,normal,1\n2.wav,bad,1\n3.wav,ok,0", "label and is_anomaly contradict"),
        ("file_name,fault_type\n1.wav,\n2.wav,outer\n", "the column fault_type of .* may mean a fault"),
        ("file_name,note\n1.wav,\n2.wav,bearing broken\n", "note is 'bearing broken'"),
        ("file_name,split\n1.wav,seventh\n", "split is 'seventh'; accepted are train and test"),
        ("file_name,domain\n1.wav,here\n", "domain is 'here'; accepted are source, target, unknown"),
        ("file_name,label,Label\n1.wav,ok,ng\n", "has the column Label, label twice"),
        ("speed,label\n1,normal\n", "lacks the column file_name; found 'speed', 'label'"),
        ("", "is empty"),
        ("file_name,label\n".encode("utf-16-le"), "UTF-16 without its mark. Save it as UTF-8"),
        ("file_name,label\n1.wav,正常\n2.wav,異常".encode("cp932"), "is neither UTF-8 nor cp1252"),
    ],
)
def test_tables_that_are_not_right_are_refused(content, words, plant):
    folder = plant("1.wav", "2.wav", "3.wav", metadata_dot_csv=content)
    if isinstance(content, str) and "3.wav" not in content:
        (folder / "3.wav").unlink()
        if words.startswith("2.wav"):
            (folder / "3.wav").touch()
    with pytest.raises(ValueError, match=words):
        load_folder(folder)
    assert set(rows(folder, machine="fan", to_score=True).values()) == {"test fan unknown"}  # needs no table


def test_two_tables_that_contradict_each_other_are_refused(plant):
    other = json.dumps({"file_name": "1.wav", "label": "bad"})
    with pytest.raises(ValueError, match=r"metadata.jsonl, line 1: contradicts .*metadata.csv, line 2 about 1.wav"):
        load_folder(plant("1.wav", "2.wav", metadata_dot_csv=LABELED, metadata_dot_jsonl=other))


def test_a_table_does_not_make_a_folder_of_faults_normal(plant):
    folder = plant("good/1.wav", "bad/2.wav", metadata_dot_csv="file_name,label\ngood/1.wav,ok\nbad/2.wav,ok\n")
    with pytest.raises(ValueError, match="bad/2.wav.*: .*metadata.csv says normal, the folder bad anomaly"):
        load_folder(folder)
    (folder / "metadata.csv").write_text("file_name,machine,note\ngood/1.wav,fan,\nbad/2.wav,fan,\nnew.wav,fan,bad\n")
    (folder / "new.wav").touch()
    with pytest.raises(ValueError, match="they lie beside the folder good"):
        load_folder(folder)


def test_a_table_of_machines_does_not_hide_a_fault(plant):
    table = "file_name,machine,note\nslow/1.wav,fan,\nslow/2.wav,fan,bearing broken\n3.wav,fan,\n"
    with pytest.raises(ValueError, match="note is 'bearing broken'"):
        load_folder(plant("slow/1.wav", "slow/2.wav", "3.wav", metadata_dot_csv=table))


def test_metadata_never_trains_on_a_fault(plant):
    table = "file_name,split,condition\n1.wav,train,normal\n2.wav,train,faulty\n3.wav,train,unknown\n4.wav,val,\n"
    found = rows(plant(*(f"{number}.wav" for number in range(1, 5)), metadata_dot_csv=table))
    assert [name for name, row in found.items() if row.startswith("train")] == ["1.wav"]
    assert found["2.wav"] == "test plant anomaly" and found["3.wav"] == "test plant unknown"
    assert found["4.wav"] == "test plant unknown"


SYSTEM = (
    """
.Trashes/1.wav|$RECYCLE.BIN/2.wav|System Volume Information/3.wav|__MACOSX/._4.wav|@eaDir/5.wav|#recycle/6.wav
.DS_Store|Thumbs.db|desktop.ini|._1.wav|~$b.wav|c.wav.partial|d.wav.tmp
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def test_what_is_no_recording_is_left_out_and_counted(plant):
    folder = plant("1.wav", *SYSTEM, "1_metadata.json", "photo.JPG", "firmware.bin", REC001=b"RIFF\0\0\0\0WAVE")
    (folder / "det").mkdir()
    for name in ("detector.json", "sample.wav"):
        (folder / "det" / name).touch()
    os.mkfifo(folder / "live.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "again").symlink_to(folder)
    content = read_folder(folder)
    assert content.dataset["train"].num_rows == 1 and set(content.summary.counts) == {"plant"}
    ignored = {kind: len(names) for kind, names in content.summary.ignored.items()}
    assert sum(ignored.values()) == len(SYSTEM) + 8
    assert ignored["hidden or system files"] == len(SYSTEM) and ignored["notes, tables and pictures"] == 2
    line = content.summary.ignored_line()
    assert "detectors of hf-asd: 1 (det)" in line and "(live.wav)" in line and "(again, gone.wav)" in line
    assert "rename them, for instance to .wav): 1 (REC001)" in line
    assert len(content.summary.lines()) <= 10


def test_system_files_do_not_stop_a_tree_of_dcase(tmp_path):
    name = "section_00_source_{}_normal_0000_noAttribute.wav"
    for split in ("train", "test"):
        (tmp_path / "fan" / split / "@eaDir").mkdir(parents=True)
        (tmp_path / "fan" / split / "Thumbs.db").touch()
        soundfile.write(tmp_path / "fan" / split / name.format(split), np.ones(RATE) / 8, RATE)
        (tmp_path / "fan" / split / f"._{name.format(split)}").touch()
    (tmp_path / ".Trashes" / "train").mkdir(parents=True)
    dataset = load_dcase(tmp_path, cache_dir=tmp_path / "cache", strict=False)
    assert {split: rows["machine"][:] for split, rows in dataset.items()} == {"train": ["fan"], "test": ["fan"]}
    (tmp_path / "fan" / "train" / "notes.docx").touch()
    with pytest.raises(ValueError, match="notes.docx: unknown file"):
        load_dcase(tmp_path, cache_dir=tmp_path / "cache", strict=False)


def test_an_empty_folder_says_what_it_holds(plant):
    with pytest.raises(FileNotFoundError, match=r"holds no recordings \(notes, tables and pictures: 1 \(a.txt\)\)"):
        load_folder(plant("a.txt"))


def test_links_to_folders_are_followed_and_each_file_counts_once(plant, tmp_path):
    folder = plant("normal/1.wav")
    (tmp_path / "archive" / "sub").mkdir(parents=True)
    for name in ("2.wav", "sub/3.wav"):
        (tmp_path / "archive" / name).touch()
    (folder / "normal" / "monday").symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "sub" / "up").symlink_to(tmp_path / "archive")
    (folder / "normal" / "same.wav").symlink_to("1.wav")
    content = read_folder(folder, machine="fan")
    names = [os.path.relpath(row["audio"]["path"], folder) for row in content.dataset["train"]]
    assert names == ["normal/1.wav", "normal/monday/2.wav", "normal/monday/sub/3.wav"]
    assert "normal/same.wav" in content.summary.ignored_line()
    (folder / "bad").mkdir()
    (folder / "bad" / "1.wav").symlink_to("../normal/1.wav")
    with pytest.raises(ValueError, match="normal/1.wav.*: the same file is .*bad/1.wav, which says something else"):
        load_folder(folder, machine="fan")


def test_what_cannot_be_opened_is_named_or_left_out(plant, tmp_path):
    folder = plant("1.wav")
    open(os.fsencode(folder) + b"/caf\xe9.wav", "w").close()
    with pytest.raises(BadAudioError, match=r"caf\\xe9.wav: its name is not UTF-8. Rename it"):
        load_folder(folder)
    content = read_folder(folder, on_bad_audio="skip")
    assert content.dataset["train"].num_rows == 1 and len(content.summary.problems) == 1
    with pytest.raises(FileNotFoundError, match="is a pipe, a device or a socket"):
        os.mkfifo(tmp_path / "live.wav")
        load_folder(tmp_path / "live.wav")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user who may not read")
def test_folders_and_files_without_permission_are_named(plant):
    folder = plant("1.wav", "2.wav", "closed/3.wav")
    os.chmod(folder / "2.wav", 0)
    os.chmod(folder / "closed", 0)
    script = (
        "import os, sys; from hf_asd.data.folder import read_folder; os.chdir(sys.argv[1]); os.setuid(65534)\n"
        "print(read_folder('.', on_bad_audio='skip').summary.problems)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
    os.chmod(folder / "closed", 0o755)
    assert "2.wav: cannot be opened, permission denied" in done.stdout, done.stderr
    assert "closed: cannot be opened, Permission denied" in done.stdout


def test_files_lists_and_dots(plant, monkeypatch):
    folder = plant("sub/1.wav", "sub/2.wav")
    assert load_folder(folder / "sub" / "1.wav")["train"]["clip_id"][:] == ["sub/1.wav"]
    both = load_folder([folder / "sub" / "1.wav", folder / "sub" / "2.wav", f"{folder}/sub/"])["train"]
    assert both["clip_id"][:] == ["sub/1.wav", "sub/2.wav"]
    monkeypatch.chdir(folder / "sub")
    assert load_folder(".")["train"]["machine"][:] == load_folder("../sub/")["train"]["machine"][:] == ["sub", "sub"]
    other = plant("other/sub/1.wav") / "other" / "sub"
    ids = load_folder([folder / "sub", other])["train"]["clip_id"]
    assert len(set(ids)) == 3


@pytest.fixture
def sounds(tmp_path):
    """Ten recordings of each of two days, and a faulty one."""
    rng = np.random.default_rng(0)
    for day in ("2026-11-01", "2026-11-02"):
        (tmp_path / "log" / day).mkdir(parents=True)
        for number in range(5):
            soundfile.write(tmp_path / "log" / day / f"{number}.wav", hum(rng), RATE)
    (tmp_path / "next" / "2026-11-03").mkdir(parents=True)
    soundfile.write(tmp_path / "next" / "2026-11-03" / "x.wav", hum(rng), RATE)
    soundfile.write(tmp_path / "next" / "y.wav", hum(rng, 170), RATE)
    (tmp_path / "next" / "._y.wav").touch()
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("short_reports")
def test_a_folder_a_day_is_fitted_and_scored(sounds, capsys):
    fit = ["fit", str(sounds / "log"), "--encoder", "none", "--output", str(sounds / "det"), "--machine", "fan"]
    assert main(fit) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"{sounds}/log: 10 recordings of 1 machine\n  fan: 10 normal recordings to learn from; 2 "
    )
    for options in ([], ["--machine", "fan"]):
        assert main(["score", str(sounds / "det"), str(sounds / "next"), *options]) == 0
        captured = capsys.readouterr()
        assert "1 of 2 recordings are anomalous" in captured.out
        assert "ignored: hidden or system files: 1 (._y.wav)" in captured.err

    files = sorted(str(file) for file in sounds.glob("log/*/*.wav"))
    assert main(["fit", *files, "--encoder", "none", "--output", str(sounds / "same")]) == 0
    assert "log: 10 normal recordings" in capsys.readouterr().out


def test_fit_refuses_machines_without_normal_recordings(plant, capsys, tmp_path):
    folder = plant("fan/normal/1.wav", "pump/anomaly/2.wav")
    assert main(["fit", str(folder), "--output", str(tmp_path / "det")]) == 2
    captured = capsys.readouterr()
    assert "pump: 0 normal recordings to learn from; test: 1 anomaly" in captured.out
    assert "holds no normal recordings to learn from of pump" in captured.err
    assert main(["fit", str(folder / "pump" / "anomaly"), "--output", str(tmp_path / "det")]) == 2
    assert "holds no normal recordings to learn from of pump" in capsys.readouterr().err


def test_each_word_of_the_trade_means_one_thing():
    """No word is in two lists, and every word of a list is read as the list says."""
    from hf_asd.data import trade_words as trade

    for words, condition in ((trade.NORMAL, "normal"), (trade.ANOMALY, "anomaly"), (trade.UNKNOWN, "unknown")):
        wrong = [word for word in words.split() if read_name(word).condition != condition]
        assert not wrong
    for words, split in ((trade.TRAIN, "train"), (trade.TEST, "test")):
        assert not [word for word in words.split() if read_name(word).split != split]
    assert not [word for word in trade.FAULT_HINTS.split() if not read_name(word).may_mean_fault]
    assert not [word for word in trade.DAY_NAMES.split() if read_name(word).session is None]
    assert not [word for word in trade.SESSION_WORDS.split() if read_name(f"{word} 2").session is None]
