"""Downloads from a local server that answers as Zenodo does, and every way in which that can go wrong."""

import errno
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hf_asd.data.dcase import download
from hf_asd.data.dcase.download import download_dcase
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.data.dcase.years import YEARS
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


def archive_of(files: dict) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def noise(seed: int, size: int = 20_000) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def clip(split: str = "train", number: int = 0, machine: str = "fan") -> str:
    return f"{machine}/{split}/section_00_source_{split}_normal_{number:04d}_n_A.wav"


class Zenodo:
    """Records and their archives. Each request takes one of its path's `faults`: a status, or bytes to end after."""

    def __init__(self):
        self.records, self.faults, self.requests = {}, {}, []
        self.ranges, self.delay, self.md5s, self.served = True, 0.0, {}, {}
        self.archives_wait = threading.Barrier(1)
        zenodo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                zenodo.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler):
        # A proxy is asked for the whole address.
        path = handler.path.removeprefix("http://zenodo.invalid").split("?")[0]
        self.requests.append((path, handler.headers.get("Range")))
        faults = self.faults.get(path, [])
        fault = faults.pop(0) if faults else None
        if isinstance(fault, tuple):
            status, headers = fault
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        words = path.strip("/").split("/")
        if words[:2] == ["api", "records"] and int(words[2]) in self.records:
            files = [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": "md5:" + self.md5s.get(name, hashlib.md5(data).hexdigest()),
                }
                for name, data in self.records[int(words[2])].items()
            ]
            body, start = json.dumps({"files": files}).encode(), 0
        elif words[0] == "records" and words[3] in self.records.get(int(words[1]), {}):
            self.archives_wait.wait()
            body = self.served.get(words[3], self.records[int(words[1])][words[3]])
            asked = handler.headers.get("Range")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        else:
            handler.send_error(404)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        end = len(body) if fault is None else min(start + fault, len(body))
        try:
            for place in range(start, end, 4096):
                handler.wfile.write(body[place : min(place + 4096, end)])
                handler.wfile.flush()
                time.sleep(self.delay)
        except OSError:
            pass  # the client is gone
        if end < len(body):
            handler.close_connection = True
            handler.connection.close()


DEV = YEARS[2025].records[0].number
FAN = f"/records/{DEV}/files/dev_fan.zip"


@pytest.fixture
def zenodo(monkeypatch):
    server = Zenodo()
    server.records[DEV] = {
        "dev_fan.zip": archive_of({clip(): noise(0), clip("test"): noise(1), "fan/attributes_00.csv": b"file_name\n"}),
        "dev_valve.zip": archive_of({clip(machine="valve"): noise(2)}),
    }
    monkeypatch.setenv("ZENODO_ENDPOINT", server.url)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.0)
    yield server
    server.server.shutdown()
    server.server.server_close()


def get(folder, machines=("fan",), **options):
    return download_dcase("dcase2025", folder, parts=["dev"], machines=list(machines), **options)


def test_downloads_unpacks_and_does_nothing_the_second_time(zenodo, tmp_path):
    root = get(tmp_path, ("fan", "valve"))
    assert root == tmp_path / "dcase2025"
    assert (root / "dev_data" / clip()).read_bytes() == noise(0)
    assert (root / "dev_data" / clip(machine="valve")).read_bytes() == noise(2)
    assert not list(root.glob(".archives/*.partial")), "archives are removed once they are unpacked"
    assert len(zenodo.requests) == 3
    get(tmp_path, ("fan", "valve"))
    assert len(zenodo.requests) == 3, "all is there: nothing is requested"
    (root / "dev_data" / clip()).unlink()
    get(tmp_path, ("fan", "valve"))
    assert (root / "dev_data" / clip()).read_bytes() == noise(0), "a file that went missing is fetched again"
    assert [path for path, _ in zenodo.requests[3:]] == [f"/api/records/{DEV}", FAN]


def test_goes_on_where_a_killed_process_was(zenodo, tmp_path):
    zenodo.delay = 0.002
    zenodo.records[DEV]["dev_fan.zip"] = archive_of({clip(): noise(0, 3_000_000)})
    program = (
        "import sys; from hf_asd.data.dcase.download import download_dcase; "
        "download_dcase(2025, sys.argv[1], parts=['dev'], machines=['fan'])"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    partial = tmp_path / "dcase2025" / ".archives"
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 500_000 for file in partial.glob("*.partial")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = next(partial.glob("*.partial")).stat().st_size
    assert 500_000 < have < len(zenodo.records[DEV]["dev_fan.zip"])
    assert not (tmp_path / "dcase2025" / "dev_data").exists()
    zenodo.delay = 0.0
    root = get(tmp_path)
    assert zenodo.requests[-1] == (FAN, f"bytes={have}-")
    assert (root / "dev_data" / clip()).read_bytes() == noise(0, 3_000_000)


@pytest.mark.parametrize("ranges", [True, False], ids=["server resumes", "server starts again"])
def test_connections_that_break_off_are_taken_up_again(zenodo, tmp_path, ranges):
    zenodo.ranges = ranges
    zenodo.faults[FAN] = [9000, 9000]
    root = get(tmp_path)
    assert (root / "dev_data" / clip()).read_bytes() == noise(0)
    assert [asked for path, asked in zenodo.requests if path == FAN][0] is None
    assert all(asked for path, asked in zenodo.requests[2:]), "every further request names what is still to come"


def test_a_server_that_never_sends_anything_is_given_up_and_the_rest_is_kept(zenodo, tmp_path):
    zenodo.faults[FAN] = [9000] + [0] * 20
    with pytest.raises(ConnectionError, match=r"dev_fan.zip.*was interrupted.*6 times.*again later"):
        get(tmp_path)
    partial = next((tmp_path / "dcase2025" / ".archives").glob("*.partial"))
    assert partial.stat().st_size == 9000
    zenodo.faults = {}
    get(tmp_path)
    assert zenodo.requests[-1][1] == "bytes=9000-"


def test_a_corrupt_byte_is_noticed_and_fetched_again(zenodo, tmp_path):
    whole = zenodo.records[DEV]["dev_fan.zip"]
    zenodo.served["dev_fan.zip"] = whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]
    with pytest.raises(ValueError, match=r"dev_fan.zip.*MD5 sum [0-9a-f]{32}, twice.*record lists [0-9a-f]{32}"):
        get(tmp_path)
    assert len([path for path, _ in zenodo.requests if path == FAN]) == 2
    assert not list((tmp_path / "dcase2025").rglob("*.wav")) and not list((tmp_path / "dcase2025").rglob("*.partial"))
    # One corrupt byte in what a stopped run left: the second fetch brings it right.
    del zenodo.served["dev_fan.zip"]
    md5 = hashlib.md5(whole).hexdigest()
    partial = tmp_path / "dcase2025" / ".archives" / f"dev_fan.zip.{md5}.partial"
    partial.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:9000])
    root = get(tmp_path)
    assert (root / "dev_data" / clip()).read_bytes() == noise(0)


def test_the_half_of_an_archive_that_was_replaced_is_not_continued(zenodo, tmp_path):
    zenodo.faults[FAN] = [9000] + [0] * 20
    with pytest.raises(ConnectionError):
        get(tmp_path)
    zenodo.faults = {}
    zenodo.records[DEV]["dev_fan.zip"] = archive_of({clip(): noise(7)})
    root = get(tmp_path)
    assert zenodo.requests[-1] == (FAN, None)
    assert (root / "dev_data" / clip()).read_bytes() == noise(7)


def test_a_truncated_archive_with_a_right_sum_is_named(zenodo, tmp_path):
    zenodo.records[DEV]["dev_fan.zip"] = zenodo.records[DEV]["dev_fan.zip"][:-100]
    with pytest.raises(ValueError, match="dev_fan.zip: not a valid ZIP archive"):
        get(tmp_path)
    assert not list((tmp_path / "dcase2025").rglob("*.wav"))


def test_sends_more_than_the_record_says(zenodo, tmp_path):
    zenodo.served["dev_fan.zip"] = zenodo.records[DEV]["dev_fan.zip"] + b"more"
    with pytest.raises(ValueError, match="sends more than the"):
        get(tmp_path)


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def device(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFIFO | 0o666) << 16
    return member


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("../outside.wav", b"x", "a path outside its folder"),
        ("fan/../../outside.wav", b"x", "a path outside its folder"),
        ("/tmp/hf_asd_outside.wav", b"x", "a path outside its folder"),
        ("fan\\..\\..\\outside.wav", b"x", "a path outside its folder"),
        ("C:/outside.wav", b"x", "a path outside its folder"),
        (link("fan/train"), b"/tmp", "is a link"),
        (device("fan/pipe"), b"", "is a special file"),
        ("fan/train/zeros.wav", bytes(5_000_000), "times as much"),
    ],
    ids=["parent", "hidden parent", "absolute", "backslash", "drive", "link", "pipe", "bomb"],
)
def test_hostile_archives_are_refused_before_anything_is_written(zenodo, tmp_path, member, data, message):
    zenodo.records[DEV]["dev_fan.zip"] = archive_of({clip(): noise(0), member: data})
    inside = tmp_path / "inside"
    with pytest.raises(ValueError, match=message):
        get(inside)
    assert [path for path in tmp_path.rglob("*.wav")] == [] and not os.path.exists("/tmp/hf_asd_outside.wav")


def test_what_a_killed_download_was_unpacking_is_removed(zenodo, tmp_path):
    leftover = tmp_path / "dcase2025" / "dev_data" / "fan" / "train" / ".a.wav.0123abcd.partial"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    assert (get(tmp_path) / "dev_data" / clip()).is_file() and not leftover.exists()


def test_what_is_downloaded_loads(zenodo, tmp_path):
    sizes = {"num_source_train": 3, "num_target_train": 1, "num_test": 2, "clip_seconds": 1.0}
    factory = write_factory(FactoryConfig(machines=("fan",), hidden_machines=0, **sizes), tmp_path / "factory")
    for record, machine, splits in zip(YEARS[2025].records, ("fan", "ToyPet", "ToyPet"), DOWNLOADED, strict=True):
        files = {
            f"{machine}/{file.relative_to(factory / 'fan')}": file.read_bytes()
            for split in splits
            for file in (factory / "fan" / split).iterdir()
        }
        zenodo.records[record.number] = {record.archives()[machine]: archive_of(files)}
    root = download_dcase(2025, tmp_path / "data", machines=["fan", "ToyPet"])
    dataset = load_dcase(root, 2025, cache_dir=tmp_path / "cache")
    assert {split: len(rows) for split, rows in dataset.items()} == {"train": 8, "test": 16}
    assert set(load_dcase(root, 2025, subset="eval", cache_dir=tmp_path / "cache")["test"]["machine"]) == {"ToyPet"}


# What the development, the additional training and the evaluation archive of a machine hold.
DOWNLOADED = (("train", "test"), ("train",), ("test",))


def test_free_space_is_checked_first(zenodo, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: Free(1000))
    with pytest.raises(OSError, match=r"needs about .* GB for 1 archives.*GB are free") as caught:
        get(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert [path for path, _ in zenodo.requests] == [f"/api/records/{DEV}"], "no archive was asked for"


class Free:
    def __init__(self, free: int):
        self.free = free


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_named_and_the_download_goes_on_later(zenodo, tmp_path):
    whole = zenodo.records[DEV]["dev_fan.zip"]
    folder = tmp_path / "dcase2025" / ".archives"
    folder.mkdir(parents=True)
    partial = folder / f"dev_fan.zip.{hashlib.md5(whole).hexdigest()}.partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\).*again to continue") as caught:
        get(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    partial.unlink()
    assert (get(tmp_path) / "dev_data" / clip()).read_bytes() == noise(0)


@pytest.mark.parametrize(
    ("status", "error", "message", "requests"),
    [
        (403, PermissionError, r"dev_fan.zip.*denied \(403\)", 1),
        (404, FileNotFoundError, r"dev_fan.zip.*does not exist \(404\)", 1),
        (418, ConnectionError, "answered 418", 1),
        (429, ConnectionError, r"too many requests \(429\).*6 times", 6),
        (503, ConnectionError, r"has a problem \(503.*6 times", 6),
    ],
)
def test_refusals_say_what_to_do(zenodo, tmp_path, status, error, message, requests):
    zenodo.faults[FAN] = [(status, {"Content-Length": "0"})] * 10
    with pytest.raises(error, match=message):
        get(tmp_path)
    assert len([path for path, _ in zenodo.requests if path == FAN]) == requests
    zenodo.faults[FAN] = [(status, {"Content-Length": "0"})] if requests > 1 else []
    assert (get(tmp_path) / "dev_data" / clip()).exists()


def test_waits_as_long_as_the_server_asks_and_says_so(zenodo, tmp_path, monkeypatch, caplog):
    waited = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: waited.append(seconds), raising=True)
    zenodo.faults[f"/api/records/{DEV}"] = [(429, {"Retry-After": "7", "Content-Length": "0"})]
    download._read_record(DEV, ["dev_fan.zip"], tmp_path, tmp_path, zenodo.url)
    assert [seconds for seconds in waited if seconds] == [7.0]
    assert "too many requests (429); trying again in 7 s" in caplog.text


def test_an_archive_that_the_record_lacks_is_named_with_those_it_has(zenodo, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no dev_bearing.zip; it has dev_fan.zip, dev_valve.zip"):
        get(tmp_path, ("bearing",))


@pytest.mark.slow
def test_the_first_error_stops_the_other_downloads(zenodo, tmp_path):
    zenodo.delay = 0.02
    zenodo.records[DEV]["dev_valve.zip"] = archive_of({clip(machine="valve"): noise(2, 2_000_000)})
    zenodo.faults[FAN] = [(404, {"Content-Length": "0"})]
    with pytest.raises(FileNotFoundError, match="dev_fan.zip"):
        get(tmp_path, ("fan", "valve"))
    partial = list((tmp_path / "dcase2025" / ".archives").glob("*"))
    assert all(file.stat().st_size < 1_000_000 for file in partial), "the other one alone would take 10 seconds"


def test_archives_come_in_parallel(zenodo, tmp_path):
    """No archive begins to come before both were asked for."""
    zenodo.archives_wait = threading.Barrier(2, timeout=60)
    get(tmp_path, ("fan", "valve"), num_workers=2)
    assert not zenodo.archives_wait.broken


def test_proxies_of_the_environment_are_used(zenodo, tmp_path, monkeypatch):
    monkeypatch.setenv("ZENODO_ENDPOINT", "http://zenodo.invalid")
    monkeypatch.setenv("http_proxy", zenodo.url)
    monkeypatch.setenv("no_proxy", "")
    assert (get(tmp_path) / "dev_data" / clip()).exists()


def test_bad_choices_are_named(tmp_path):
    with pytest.raises(ValueError, match="year is 'dcase2019'; accepted are 2020, 2021"):
        download_dcase("dcase2019", tmp_path)
    with pytest.raises(ValueError, match="unknown part test; accepted are dev, train, eval"):
        download_dcase(2025, tmp_path, parts=["test"])
    with pytest.raises(ValueError, match="unknown machine pump; accepted are AutoTrash"):
        download_dcase(2025, tmp_path, machines=["pump"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("year", YEARS)
def test_every_record_names_one_archive_a_machine(year):
    records = YEARS[year].records
    assert [record.part for record in records] == ["dev", "train", "eval"]
    train, evaluated = records[1:]
    assert train.machines == evaluated.machines
    names = [name for record in records for name in record.archives().values()]
    assert len(set(names)) == len(names) and all(name.endswith(".zip") for name in names)


def test_records_are_all_different():
    numbers = [record.number for rules in YEARS.values() for record in rules.records]
    assert len(set(numbers)) == len(numbers) == 21
