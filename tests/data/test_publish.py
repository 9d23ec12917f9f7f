"""A dataset pushed to, and loaded from, a local server that answers as the Hub does for datasets."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from datasets import Audio, Dataset, DatasetDict

from hf_asd.data.audio import read_audio
from hf_asd.data.dcase import load_dcase
from hf_asd.data.factory import FactoryConfig, write_factory
from hf_asd.data.publish import dataset_card, of_machine, push_dataset_to_hub


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("publish")
    sizes = {"num_source_train": 3, "num_target_train": 1, "num_test": 1, "clip_seconds": 1.0}
    write_factory(FactoryConfig(machines=("fan", "valve"), **sizes), path / "factory")
    return load_dcase(path / "factory", 2025, cache_dir=path / "cache")


def test_a_machine_s_rows_are_typed_for_the_viewer(dataset):
    fan = of_machine(dataset, "fan")
    assert [(split, len(rows)) for split, rows in fan.items()] == [("train", 4), ("test", 4)]
    assert all(rows.features["audio"] == Audio() and set(rows["machine"]) == {"fan"} for rows in fan.values())
    assert of_machine(dataset, "fan", 16000)["test"].features["audio"].sampling_rate == 16000
    scored = DatasetDict({"test": dataset["test"].add_column("anomaly_score", [0.5] * 8)})
    assert of_machine(scored, "fan")["test"].column_names == dataset["test"].column_names, "the schema's columns only"


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
    with pytest.raises(FileNotFoundError, match="gone.wav: is not there"):
        push_dataset_to_hub(DatasetDict(test=lost), "me/x", **options)


class Hub:
    """Dataset repositories in memory: as much of the Hub as pushing and loading asks for."""

    def __init__(self):
        self.repos, self.private, self.objects, self.commits = {}, {}, {}, 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self, b"")

            def do_HEAD(self):
                hub.answer(self, b"")

            def do_PUT(self):
                hub.answer(self, self.rfile.read(int(self.headers["Content-Length"] or 0)))

            def do_POST(self):
                hub.answer(self, self.rfile.read(int(self.headers["Content-Length"] or 0)))

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def head(self) -> str:
        return f"{self.commits:040x}"

    def answer(self, handler, body: bytes):
        words = handler.path.split("?")[0].strip("/").split("/")
        if words[:3] == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = repo in self.repos
            self.repos.setdefault(repo, {})
            self.private.setdefault(repo, asked.get("private") or asked.get("visibility") == "private")
            return self.send(handler, {"url": f"{self.url}/datasets/{repo}"}, 409 if known else 200)
        if words[1] == "whoami-v2":
            return self.send(handler, {"name": "me", "type": "user", "orgs": []})
        if words[1] == "validate-yaml":
            return self.send(handler, {"errors": [], "warnings": []})
        if words[0] == "lfs":
            self.objects[words[1]] = body
            return self.send(handler, {})
        if words[-1] == "batch":
            asked = json.loads(body)["objects"]
            upload = [{**one, "actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}} for one in asked]
            return self.send(handler, {"transfer": "basic", "objects": upload})
        repo = "/".join(words[2:4] if words[0] == "api" else words[1:3])
        if repo not in self.repos:
            return self.send(handler, {"error": "no such repository"}, 404, {"X-Error-Code": "RepoNotFound"})
        files = self.repos[repo]
        if words[0] == "datasets":
            return self.resolve(handler, files.get("/".join(words[5:])))
        action = words[4] if len(words) > 4 else "revision"
        if action == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            modes = ["lfs" if path.endswith(".parquet") else "regular" for path in asked]
            plan = [
                {"path": path, "uploadMode": mode, "shouldIgnore": False}
                for path, mode in zip(asked, modes, strict=True)
            ]
            return self.send(handler, {"files": plan})
        if action == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "lfsFile":
                    files[line["value"]["path"]] = self.objects[line["value"]["oid"]]
                elif line["key"] == "deletedFile":
                    files.pop(line["value"]["path"], None)
            self.commits += 1
            address = f"{self.url}/datasets/{repo}/commit/{self.head}"
            return self.send(handler, {"commitUrl": address, "commitOid": self.head, "success": True})
        entries = [self.entry(path, data) for path, data in sorted(files.items())]
        folders = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        if action == "paths-info":
            asked = json.loads(body)["paths"]
            return self.send(handler, [entry for entry in entries if entry["path"] in asked])
        if action == "tree":
            below = "".join(f"{word}/" for word in words[6:])
            found = [entry for entry in entries if entry["path"].startswith(below)]
            if "recursive=true" not in handler.path.lower():
                found = [entry for entry in found if "/" not in entry["path"].removeprefix(below)]
            if below and not found:
                return self.send(handler, {"error": "no such folder"}, 404, {"X-Error-Code": "EntryNotFound"})
            return self.send(handler, found)
        about = {"id": repo, "sha": self.head, "siblings": [{"rfilename": path} for path in sorted(files)]}
        return self.send(handler, about | {"private": False, "tags": [], "downloads": 0, "likes": 0})

    def entry(self, path: str, data: bytes) -> dict:
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def resolve(self, handler, data: bytes | None):
        if data is None:
            return self.send(handler, {}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.head})
        tags = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self.head, "Accept-Ranges": "bytes"}
        asked = handler.headers.get("Range")
        if asked:
            start, end = asked.removeprefix("bytes=").split("-")
            end = min(int(end or len(data) - 1), len(data) - 1)
            tags["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            return self.send(handler, data[int(start) : end + 1], 206, tags)
        return self.send(handler, data, 200, tags)

    def send(self, handler, content, status: int = 200, headers: dict | None = None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)


# The Hub's address is read on import: pushing and loading have a process of their own.
PROGRAM = """
import json, sys
from datasets import Audio, get_dataset_config_names, load_dataset
from hf_asd.data.dcase import load_dcase
from hf_asd.data.publish import push_dataset_to_hub

factory, cache = sys.argv[1:]
dataset = load_dcase(factory, 2025, cache_dir=cache)
for _ in range(2):  # the second time replaces what the first wrote
    address = push_dataset_to_hub(dataset, "me/factory", title="A factory", license="apache-2.0")
configs = get_dataset_config_names("me/factory")
rows = load_dataset("me/factory", "valve").cast_column("audio", Audio(decode=False))
rows["test"].to_parquet(sys.argv[2] + "/back.parquet")
counts = {split: len(part) for split, part in rows.items()}
print(json.dumps({"address": address, "configs": configs, "counts": counts}))
"""


def test_what_is_pushed_is_what_is_loaded(dataset, tmp_path):
    hub = Hub()
    factory = str(dataset["train"][0]["audio"]["path"]).split("/fan/")[0]
    offline = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"}
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_local", "HF_HOME": str(tmp_path / "home"), "no_proxy": "*"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    (tmp_path / "cache").mkdir()
    command = [sys.executable, "-c", PROGRAM, factory, str(tmp_path / "cache")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["configs"] == ["fan", "valve"] and told["counts"] == {"train": 4, "test": 4}
    assert told["address"].endswith("/datasets/me/factory") and hub.private["me/factory"] is True
    files = hub.repos["me/factory"]
    assert sorted(path for path in files if path.endswith(".parquet")) == [
        f"{machine}/{split}-00000-of-00001.parquet" for machine in ("fan", "valve") for split in ("test", "train")
    ]
    card = files["README.md"].decode()
    assert "config_name: fan" in card and "dtype: audio" in card and "license: apache-2.0" in card
    assert card.count("# A factory") == 1, "the second push replaces the card's text"
    back = Dataset.from_parquet(str(tmp_path / "cache" / "back.parquet"), cache_dir=str(tmp_path / "again"))
    ours = dataset["test"].filter(lambda row: row["machine"] == "valve")
    back = back.cast_column("audio", Audio(decode=False))
    for row, own in zip(back, ours, strict=True):
        assert {**row, "audio": None} == {**own, "audio": None}
        assert row["audio"]["path"] == os.path.basename(own["audio"]["path"])
        with open(own["audio"]["path"], "rb") as file:
            assert row["audio"]["bytes"] == file.read()
        assert (read_audio(row["audio"]) == read_audio(own["audio"])).all()
    hub.server.shutdown()
    hub.server.server_close()
