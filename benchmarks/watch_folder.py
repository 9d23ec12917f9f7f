"""
`hf-asd monitor` on a folder that is filled, emptied, unmounted and mounted again: is each file decided exactly once?

    python benchmarks/watch_folder.py [--minutes 60] [--seed 0]

Needs Linux and root, for mounts. A folder on a file system of its own stands for a NAS, and two monitors watch it: one
the mount point itself, the other a folder in it, which is missing while nothing is mounted. Recordings of random
lengths come as recorders and people bring them: copied, copied with old and future times, renamed into place, written
slowly with pauses of 2 to 5 s (WAV whose header has its length, has none, or gets it at the end; FLAC), replaced by
others of the same name and length, in folders of days; others are broken, cut off, pipes or links to nothing. Files
that were decided are touched, moved or deleted. Every minute or two the folder is unmounted for 2 to 40 s, while
recordings go on arriving; every second time it comes back as another file system with other file numbers. The lines of
both monitors are compared with what was written: every window of every recording once, every broken file reported
once.
"""

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import soundfile

from hf_asd import AnomalyDetector, load_folder


RATE, WINDOW_SECONDS = 16_000, 10.0
PIECES = 3  # of a slowly written recording


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        print("skipped: mounting a folder needs Linux and root")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    with tempfile.TemporaryDirectory() as base:
        nas = Nas(Path(base))
        monitors = []
        try:
            detector = fit_detector(Path(base))
            monitors = [Monitor(detector, nas.mount_point), Monitor(detector, nas.mount_point / "inbox")]
            time.sleep(15)  # loading
            people = People(nas, monitors, random.Random(args.seed))
            end = time.monotonic() + 60 * args.minutes
            while time.monotonic() < end:
                people.act()
            people.wait_for_writers()
            people.wait_for_monitors()
            return report(args, people, monitors)
        finally:
            for monitor in monitors:
                monitor.process.kill()
            nas.close()


def record(rng: np.random.Generator, samples: int) -> np.ndarray:
    time_s = np.arange(samples) / RATE
    tones = sum(np.sin(2 * np.pi * 100 * k * time_s + k) / k for k in range(1, 6))
    return (rng.uniform(0.08, 0.12) * tones + 0.02 * rng.standard_normal(samples)).astype(np.float32)


def encode(samples: np.ndarray, name: str = "WAV") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format=name, subtype="PCM_16")
    return content.getvalue()


def fit_detector(base: Path) -> Path:
    folder, rng = base / "machine", np.random.default_rng(0)
    folder.mkdir()
    for number in range(24):
        (folder / f"{number:02d}.wav").write_bytes(encode(record(rng, 4 * RATE)))
    AnomalyDetector(None).fit(load_folder(folder)).save_pretrained(base / "detector")
    return base / "detector"


class Nas:
    """A folder on a file system of its own, which can go away and come back, also with other file numbers."""

    def __init__(self, base: Path):
        self.base, self.number, self.mount_point = base, 0, base / "mounted"
        self.mount_point.mkdir()
        self.server = self._new_server()
        (self.server / "inbox").mkdir()
        self.mount()

    def _new_server(self) -> Path:
        self.number += 1
        server = self.base / f"server{self.number}"
        server.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=512m", f"server{self.number}", server)
        return server

    def mount(self) -> None:
        run("mount", "--bind", self.server, self.mount_point)

    def unmount(self) -> None:
        run("umount", "-l", self.mount_point)

    def replace(self) -> None:
        """The same files on another file system."""
        old, new = self.server, self._new_server()
        run("cp", "-a", f"{old}/.", new)
        run("umount", "-l", old)
        self.server = new

    def close(self) -> None:
        for path in (self.mount_point, self.server):
            subprocess.run(["umount", "-l", str(path)], capture_output=True)


def run(*command) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Monitor:
    """One `hf-asd monitor`, and what it wrote."""

    def __init__(self, detector: Path, folder: Path):
        self.folder = folder
        self.out, self.err = (detector.parent / f"{folder.name}.{kind}" for kind in ("jsonl", "log"))
        command = [sys.executable, "-m", "hf_asd", "monitor", str(detector), str(folder), "--wait-seconds", "inf"]
        self.process = subprocess.Popen(command, stdout=open(self.out, "w"), stderr=open(self.err, "w"))

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def results(self, nas: Nas) -> tuple[dict, dict, int]:
        """Windows of each recording, errors of each file, errors of the folder itself."""
        inbox = str(nas.mount_point / "inbox") + "/"
        windows, errors, away = defaultdict(Counter), defaultdict(list), 0
        for line in self.lines():
            name = line["source"].removeprefix(inbox)
            if line["source"] == str(self.folder):
                away += 1
            elif "error" in line:
                errors[name].append(line["error"])
            else:
                windows[name][line["start_s"], line["end_s"]] += 1
        return windows, errors, away


class People:
    """Everyone who puts files into the folder or takes them away, and a ledger of what has to come out."""

    def __init__(self, nas: Nas, monitors: list[Monitor], rng: random.Random):
        self.nas, self.monitors, self.rng = nas, monitors, rng
        self.samples = np.random.default_rng(rng.randrange(1 << 30))
        self.windows, self.errors, self.perhaps = defaultdict(Counter), Counter(), set()
        self.lengths: dict[str, int] = {}  # of the recordings that are there
        self.writers: list[threading.Thread] = []
        self.actions, self.count, self.outages = Counter(), 0, 0
        self.next_outage = time.monotonic() + 20

    def act(self) -> None:
        """One action, and a pause."""
        kinds = [self.copy, self.copy_with_times, self.rename, self.write_slowly, self.replace, self.break_one]
        kinds += [self.touch, self.move, self.remove_early]
        if time.monotonic() > self.next_outage:
            self.outage()
            self.next_outage = time.monotonic() + self.rng.uniform(40, 120)
        elif self.count and self.count % 120 == 0:
            self.count += 1
            self.empty()
        else:
            kind = self.rng.choices(kinds, [4, 3, 3, 5, 3, 2, 1, 1, 1])[0]
            self.actions[kind.__name__] += 1
            kind()
        time.sleep(self.rng.uniform(0, 6))

    def path(self, name: str) -> Path:
        return self.nas.server / "inbox" / name

    def new_name(self, ending: str = ".wav") -> str:
        self.count += 1
        folder = self.rng.choice(["", "", "2026-11-01/", "2026-11-02/", "line 3/day 1/"])
        self.path(folder).mkdir(parents=True, exist_ok=True)
        return f"{folder}{self.count:05d}{ending}"

    def new_sound(self, name: str, samples: int | None = None) -> np.ndarray:
        """Samples of a recording, entered into the ledger."""
        samples = samples or self.rng.choice([self.rng.randint(RATE, 8 * RATE), self.rng.randint(8 * RATE, 32 * RATE)])
        self.lengths[name] = samples
        window = round(WINDOW_SECONDS * RATE)
        starts = [start for start in range(0, samples, window) if start == 0 or samples - start >= window / 2]
        for start, end in zip(starts, [*starts[1:], samples], strict=True):
            self.windows[name][round(start / RATE, 3), round(start / RATE + (end - start) / RATE, 3)] += 1
        return record(self.samples, samples)

    def decided(self) -> list[str]:
        """Recordings that both monitors have decided about."""
        found = [monitor.results(self.nas)[0] for monitor in self.monitors]
        return [name for name in self.lengths if all(one[name] == self.windows[name] for one in found)]

    def wait_for_monitors(self) -> None:
        """Until they have decided about everything, five minutes at most, and a while longer, for what is too much."""
        end = time.monotonic() + 300
        while time.monotonic() < end and len(self.decided()) < len(self.lengths):
            time.sleep(5)
        time.sleep(45)

    def copy(self) -> None:
        name = self.new_name()
        self.path(name).write_bytes(encode(self.new_sound(name)))

    def copy_with_times(self) -> None:
        name = self.new_name()
        self.path(name).write_bytes(encode(self.new_sound(name)))
        self.set_time(name)

    def set_time(self, name: str) -> None:
        moment = self.rng.choice([9e8, time.time() - 3600, time.time() + 3600, 2.1e9])
        os.utime(self.path(name), (moment, moment))

    def rename(self) -> None:
        name = self.new_name()
        partial = self.path(name).with_name(self.rng.choice([".a.wav", "._a.wav", "a.wav.part", "partial.wav"]))
        content = encode(self.new_sound(name))
        with open(partial, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(1)
            file.write(content[len(content) // 2 :])
        partial.rename(self.path(name))

    def write_slowly(self) -> None:
        kind = self.rng.choice(["promised", "unknown", "header later", "flac"])
        name = self.new_name(".flac" if kind == "flac" else ".wav")
        sound = self.new_sound(name)
        content = encode(sound, "FLAC" if kind == "flac" else "WAV")
        whole = content[4:8], content[40:44]
        if kind in ("unknown", "header later"):
            content = content[:4] + bytes(4) + content[8:40] + bytes(4) + content[44:]
        pauses = [self.rng.uniform(2, 5) for _ in range(PIECES)]

        def write() -> None:
            with open(path, "wb") as file:
                for number, pause in enumerate(pauses):
                    file.write(content[number * len(content) // PIECES : (number + 1) * len(content) // PIECES])
                    file.flush()
                    time.sleep(pause)
                if kind == "header later":
                    file.seek(4)
                    file.write(whole[0])
                    file.seek(40)
                    file.write(whole[1])

        path = self.path(name)
        self.writers.append(threading.Thread(target=write))
        self.writers[-1].start()

    def wait_for_writers(self) -> None:
        for writer in self.writers:
            writer.join()
        self.writers = []

    def replace(self) -> None:
        """By another recording of the same name and length, as a copy or by renaming, perhaps with the same time."""
        names = self.decided()
        if not names:
            return
        name = self.rng.choice(names)
        path, status = self.path(name), os.stat(self.path(name))
        content = encode(self.new_sound(name, self.lengths[name]), "FLAC" if path.suffix == ".flac" else "WAV")
        if self.rng.random() < 0.5:
            path.write_bytes(content)
        else:
            path.with_name(".new").write_bytes(content)
            path.with_name(".new").rename(path)
        if self.rng.random() < 0.3:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def break_one(self) -> None:
        name = self.new_name()
        path = self.path(name)
        kind = self.rng.choice(["text", "empty", "cut", "short", "pipe", "link"])
        if kind == "text":
            path.write_text("not a recording")
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "cut":
            path.write_bytes(encode(record(self.samples, 4 * RATE))[: 2 * RATE])
        elif kind == "short":
            path.write_bytes(encode(record(self.samples, RATE // 10)))
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere.wav")
        self.errors[name] += 1

    def touch(self) -> None:
        if names := self.decided():
            self.set_time(self.rng.choice(names))

    def move(self) -> None:
        if names := self.decided():
            name = self.rng.choice(names)
            self.path("done").mkdir(exist_ok=True)
            self.path(name).rename(self.path("done") / name.replace("/", "_"))
            del self.lengths[name]

    def remove_early(self) -> None:
        """A file that is there for about a second; a monitor that is busy may miss it."""
        name = self.new_name()
        self.path(name).write_bytes(encode(record(self.samples, RATE)))
        time.sleep(self.rng.uniform(0.3, 1.3))
        self.path(name).unlink()
        self.perhaps.add(name)

    def empty(self) -> None:
        """Deletes what was decided, and puts other recordings under half of the names."""
        self.actions["empty"] += 1
        names = self.decided()
        for name in names:
            self.path(name).unlink()
            del self.lengths[name]
        shutil.rmtree(self.path("done"), ignore_errors=True)
        time.sleep(self.rng.uniform(0, 5))
        for name in names[::2]:
            self.path(name).write_bytes(encode(self.new_sound(name), "FLAC" if name.endswith("c") else "WAV"))

    def outage(self) -> None:
        self.outages += 1
        is_new = self.outages % 2 == 0
        if is_new:
            self.wait_for_writers()
            # One more look: with another number, a recording renamed since the last one looks like a removed one.
            time.sleep(2)
        self.nas.unmount()
        if is_new:
            self.nas.replace()
        end = time.monotonic() + self.rng.choice([2, 5, 40])
        while time.monotonic() < end:
            self.rng.choice([self.copy, self.rename] if is_new else [self.copy, self.write_slowly])()
            time.sleep(self.rng.uniform(0.5, 4))
        self.nas.mount()


def report(args: argparse.Namespace, people: People, monitors: list[Monitor]) -> int:
    actions = ", ".join(f"{count} {name}" for name, count in sorted(people.actions.items()))
    print(f"{args.minutes:g} minutes, seed {args.seed}: {people.outages} outages, {actions}")
    wrong = 0
    for monitor in monitors:
        memory = resident_mib(monitor.process.pid)
        monitor.process.send_signal(signal.SIGINT)
        code = monitor.process.wait(timeout=60)
        windows, errors, away = monitor.results(people.nas)
        log = monitor.err.read_text()
        summary = log.strip().splitlines()[-1]
        expected = sum(sum(one.values()) for one in people.windows.values())
        names = windows.keys() | people.windows.keys()
        differing = [name for name in sorted(names) if windows[name] != people.windows[name]]
        unexpected = [
            name
            for name in sorted(errors.keys() | people.errors.keys())
            if len(errors[name]) != people.errors[name] and not (name in people.perhaps and len(errors[name]) == 1)
        ]
        wrong += len(differing) + len(unexpected) + (away > people.outages) + ("Traceback" in log)
        print(
            f"monitor of {monitor.folder.name}/: {len(people.windows)} names, {expected} windows expected, "
            f"{sum(sum(one.values()) for one in windows.values())} decided; {len(differing)} names differ"
        )
        for name in differing:
            print(f"  {name}: expected {dict(people.windows[name])}, decided {dict(windows[name])}")
        print(
            f"  broken files: {len(people.errors)}, errors of files: {sum(map(len, errors.values()))} (those of the "
            f"{len(people.perhaps)} that were removed within 1.3 s may be there or not); {len(unexpected)} differ"
        )
        for name in unexpected:
            print(f"  {name}: expected {people.errors[name]} errors, found {errors[name]}")
        print(
            f"  errors of the folder: {away}, an outage may end before the next look; exit code {code}; memory "
            f"{memory:.0f} MiB; {summary}"
        )
    print("each file exactly once" if not wrong else f"{wrong} differences")
    return 1 if wrong else 0


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    sys.exit(main())
