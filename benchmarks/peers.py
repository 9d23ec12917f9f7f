"""
What a user would take instead: time, memory, faults found and false alarms, on the same recordings in one run.

    python benchmarks/peers.py WORK DIR [DIR ...] [--references 10]

Each DIR is a folder as `hf-asd fit` takes it, with normal and anomalous recordings of one machine or several. For each
machine every tool learns from the same normal recordings (chosen with seed 0), and decides about all others, at the
threshold that it comes with; where that is a share of false alarms, it is the tool's own default. Each runs in an
environment of its own in WORK, which this script makes from packages of PyPI (about 1 GB), with one thread:

- hf_asd: `AnomalyDetector().fit(...)`, in the environment that runs this script; and its bundle (`hf-asd export`);
- PyOD's audio features with KNN (`EmbeddingOD.for_audio()`) and with ECOD;
- librosa's MFCC, means over time, with scikit-learn's isolation forest;
- audio-anomaly, which takes one reference recording: the first one.

Printed: seconds to start (imports included), to learn (with the first decision) and to decide about a recording, as
wall clock; memory at the peak; shares of faults found and of false alarms. Run it with a real-time priority
(`chrt -r 20`) where other programs are busy.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from datasets import concatenate_datasets

from hf_asd import load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.data.schema import undecoded_audio


ROOT = Path(__file__).parents[1]
RATE = 16_000
# Name -> packages of its environment (none: the one that runs this script) and its code: `learn` of a list of files
# gives a function of a file.
TOOLS: dict[str, tuple[list[str] | None, str]] = {
    "hf_asd": (
        None,
        """
from hf_asd import AnomalyDetector, load_folder
def learn(files):
    detector = AnomalyDetector().fit(load_folder(files, machine="machine")["train"])
    from hf_asd.export.bundle_folder import export_bundle
    after.append(lambda: export_bundle(detector, work / "bundle"))
    return lambda file: detector(file).is_anomaly
""",
    ),
    "hf_asd bundle": (
        ["numpy", "soundfile", "onnxruntime"],
        """
sys.path.insert(0, str(work / "bundle"))
from score import Detector
def learn(files):
    detector = Detector()
    return lambda file: detector(file)["decision"] == "ANOMALY"
""",
    ),
    "PyOD, KNN": (
        ["pyod[audio]"],
        """
from pyod.models.embedding import EmbeddingOD
def learn(files):
    detector = EmbeddingOD.for_audio()
    detector.fit(files)
    return lambda file: bool(detector.predict([file])[0])
""",
    ),
    "PyOD, ECOD": (
        ["pyod[audio]"],
        """
from pyod.models.embedding import EmbeddingOD
def learn(files):
    detector = EmbeddingOD.for_audio(detector="ECOD")
    detector.fit(files)
    return lambda file: bool(detector.predict([file])[0])
""",
    ),
    "MFCC, isolation forest": (
        ["librosa", "scikit-learn", "soundfile"],
        """
import librosa
import numpy as np
from sklearn.ensemble import IsolationForest
def features(file):
    samples, rate = librosa.load(file, sr=None)
    return librosa.feature.mfcc(y=samples, sr=rate).mean(axis=1)
def learn(files):
    forest = IsolationForest(random_state=0).fit(np.stack([features(file) for file in files]))
    return lambda file: bool(forest.predict(features(file)[None])[0] < 0)
""",
    ),
    "audio-anomaly": (
        ["audio-anomaly"],
        """
from audio_anomaly import Monitor
def learn(files):
    monitor = Monitor(files[0])
    return lambda file: bool(monitor.check(file).has_anomalies)
""",
    ),
}
FRAME = """
import json, re, sys, time
from pathlib import Path
work, job, after = Path(sys.argv[1]), json.loads(sys.argv[2]), []
{code}
ready = time.time()
decide = learn(job["references"])
decide(job["tested"][0])
learned = time.time()
alarms = [bool(decide(file)) for file in job["tested"]]
done = time.time()
memory = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
for unfinished in after:
    unfinished()
print("\\n" + json.dumps(dict(ready=ready, learned=learned, done=done, alarms=alarms, memory=memory)))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    parser.add_argument("--references", type=int, default=10)
    args = parser.parse_args()
    pythons = {name: environment(args.work / "environments", packages) for name, (packages, _) in TOOLS.items()}
    columns = "".join(f"{name:>11}" for name in ("start s", "learn s", "decide ms", "memory MB", "found", "false"))
    print(f"{'machine':<18}{'tool':<24}{columns}")
    for folder in args.folders:
        for machine, (normal, anomalous) in recordings(args.work, folder).items():
            order = np.random.default_rng(0).permutation(len(normal))
            references = [normal[number] for number in order[: args.references]]
            others = [normal[number] for number in order[args.references :]]
            place = args.work / machine
            place.mkdir(exist_ok=True)
            for name, (packages, _) in TOOLS.items():
                if packages is not None and name != "hf_asd bundle":
                    run(name, pythons[name], place, references, others[:1])  # numba compiles once for all
                measure(name, pythons[name], place, machine, references, others, anomalous)


def environment(folder: Path, packages: list[str] | None) -> Path:
    """The Python of an environment with these packages; made where it does not exist."""
    if packages is None:
        return Path(sys.executable)
    place = folder / "-".join(packages).replace("[", "-").replace("]", "")
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        (place / "complete").touch()
    return python.absolute()


def recordings(work: Path, folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """By machine its normal and its anomalous recordings, as WAV files that every tool reads."""
    rows = concatenate_datasets(list(load_folder(folder).values()))
    found: dict[str, tuple[list[str], list[str]]] = {}
    for row, audio in enumerate(undecoded_audio(rows)):
        machine, is_anomaly = rows["machine"][row], rows["condition"][row] == "anomaly"
        own = found.setdefault(machine, ([], []))[is_anomaly]
        path = work / "sounds" / machine / f"{'anomaly' if is_anomaly else 'normal'}_{len(own):03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, read_audio(audio), RATE)
        own.append(str(path.absolute()))
    return found


def measure(
    name: str, python: Path, work: Path, machine: str, references: list[str], others: list[str], anomalous: list[str]
) -> None:
    """Runs a tool in a process of its own, and prints a line."""
    started = time.time()
    result = run(name, python, work, references, [*others, *anomalous])
    false, found = np.split(np.array(result["alarms"]), [len(others)])
    milliseconds = 1000 * (result["done"] - result["learned"]) / len(result["alarms"])
    print(
        f"{machine[:17]:<18}{name:<24}{result['ready'] - started:>11.2f}{result['learned'] - result['ready']:>11.2f}"
        f"{milliseconds:>11.0f}{result['memory']:>11.0f}{found.mean():>11.0%}{false.mean():>11.0%}",
        flush=True,
    )


def run(name: str, python: Path, work: Path, references: list[str], tested: list[str]) -> dict:
    """What a tool took and decided."""
    variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    variables["PYTHONPATH"] = str(ROOT) if TOOLS[name][0] is None else ""
    job = json.dumps({"references": references, "tested": tested})
    command = [python, "-W", "ignore", "-c", FRAME.format(code=TOOLS[name][1]), work.absolute(), job]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
