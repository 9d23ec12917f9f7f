"""
Whether a bundle of `hf-asd export` decides as the package does, how large it is and how fast.

    python benchmarks/edge.py WORK [DIR ...] [--clips 130] [--only NAME ...] [--speed]

Detectors: spectral statistics, the bundled encoder, EAT and BEATs (small ones with random weights), in fp32, and the
bundled encoder in int8. Each is fitted to a machine: of the folders DIR (as `hf-asd fit` takes them), else a simulated
fan. Its bundle and the detector decide about the machine's other recordings and about simulated ones, cut or repeated
to 1 to 60 s, some with a fault (a tone, knocks, clipping, a gap, silence, no high frequencies, ten times quieter).
Printed are the largest relative difference of scores and p-values, the number of different decisions, and size.

With `--speed` instead: the time of `python score.py` for one recording of 10 s, from the start of the process to its
end, and of one clip of 10 s in a running process, with one thread, as wall clock and as CPU time; medians of ten. It
measures the bundles that a first run without it left in WORK. Run it with a real-time priority (`chrt -r 20`) where
other programs are busy.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from datasets import concatenate_datasets
from scipy.signal import butter, sosfilt

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.audio.reading import read_audio
from hf_asd.data.schema import undecoded_audio
from hf_asd.export.bundle_folder import export_bundle
from hf_asd.models.beats.configuration_beats import BeatsConfig
from hf_asd.models.beats.feature_extraction_beats import BeatsFeatureExtractor
from hf_asd.models.beats.modeling_beats import BeatsModel
from hf_asd.models.eat.configuration_eat import EatConfig
from hf_asd.models.eat.feature_extraction_eat import EatFeatureExtractor
from hf_asd.models.eat.modeling_eat import EatModel


RATE = 16_000
REFERENCES = 30
TINY: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
SYSTEMS = ("statistics", "bundled", "eat", "beats", "bundled int8")
MACHINE_FAULTS = ("none", "tone", "knocks")
FAULTS = (
    *MACHINE_FAULTS,
    "clipped",
    *MACHINE_FAULTS,
    "gap",
    *MACHINE_FAULTS,
    "quiet",
    *MACHINE_FAULTS,
    "silent",
    "dull",
)
LENGTHS = (1, 2, 4, 8, 10, 10, 12, 19, 25, 40, 60)  # seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("folders", metavar="DIR", type=Path, nargs="*")
    parser.add_argument("--clips", type=int, default=130, help="of each system and machine")
    parser.add_argument("--only", nargs="+", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--speed", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("hf_asd").setLevel(logging.ERROR)
    if args.speed:
        for bundle in sorted(args.work.glob("*.bundle")):
            measure_speed(bundle)
        return
    print("system        machine             clips     MB     score  p-value  decisions  no decision")
    machines = real_machines(args) or {"simulated fan": simulated_fan(args.work)}
    total = 0
    for name in args.only:
        for machine, paths in machines.items():
            total += compare(args, name, machine, paths)
    print(f"{total} clips")


def real_machines(args: argparse.Namespace) -> dict[str, list[Path]]:
    """By machine its recordings as 16 kHz files, normal ones first."""
    machines: dict[str, list[Path]] = {}
    for folder in args.folders:
        rows = concatenate_datasets(list(load_folder(folder).values()))
        order = sorted(range(len(rows)), key=lambda row: rows["condition"][row] != "normal")
        audios, names = undecoded_audio(rows), rows["machine"][:]
        for row in order:
            own = machines.setdefault(names[row], [])
            path = args.work / "sounds" / names[row] / f"{len(own):03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                soundfile.write(path, read_audio(audios[row]), RATE)
            own.append(path)
    return machines


def simulated_fan(work: Path) -> list[Path]:
    rng, paths = np.random.default_rng(0), []
    for number in range(REFERENCES + 30):
        seconds = np.arange(10 * RATE) / RATE
        tones = sum(np.sin(2 * np.pi * rng.uniform(99, 101) * k * seconds + k) / k for k in range(1, 12))
        clip = rng.uniform(0.08, 0.12) * tones + 0.02 * rng.standard_normal(len(seconds))
        paths.append(work / "sounds" / "simulated fan" / f"{number:03d}.wav")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(paths[-1], 0.3 * clip, RATE)
    return paths


def encoder(name: str, work: Path) -> str | Path | None:
    if name.startswith("bundled"):
        return "bundled"
    if name == "statistics":
        return None
    torch.manual_seed(0)
    if name == "eat":
        model, extractor = EatModel(EatConfig(**TINY)), EatFeatureExtractor()
    else:
        model, extractor = BeatsModel(BeatsConfig(**TINY)), BeatsFeatureExtractor()
    model.save_pretrained(work / name)
    extractor.save_pretrained(work / name)
    return work / name


def compare(args: argparse.Namespace, name: str, machine: str, paths: list[Path]) -> int:
    references = min(REFERENCES, len(paths) // 2)
    folder = args.work / f"{name} {machine}.bundle".replace(" ", "_")
    place = encoder(name, args.work)
    config = DetectorConfig(with_statistics=True, pooling="bands") if isinstance(place, Path) else DetectorConfig()
    rows = load_folder(paths[:references], machine=machine)["train"]
    detector = AnomalyDetector(place, config).fit(rows)
    detector.save_pretrained(folder.with_suffix(".detector"))
    about = export_bundle(detector, folder, precision="int8" if name.endswith("int8") else "fp32")
    bundle = script(folder)
    rng, file = np.random.default_rng(1), args.work / f"{os.getpid()}.wav"
    scores, p_values, different, undecided = 0.0, 0.0, 0, 0
    for number in range(args.clips):
        soundfile.write(file, clip_of(rng, paths[references:], number), RATE)
        expected, found = detector(file), bundle(file)
        scores = max(scores, abs(found["anomaly_score"] / expected.anomaly_score - 1))
        p_values = max(p_values, abs(found["p_value"] / expected.p_value - 1))
        words = {True: "ANOMALY", False: "normal", None: "no decision"}[expected.is_anomaly]
        undecided += words == "no decision"
        if found["decision"] != words:
            different += 1
            print(f"  {number}: {words} ({expected.abstain_reason}), bundle {found['decision']} ({found['reason']})")
    file.unlink()
    print(
        f"{name:<14}{machine[:17]:<18}{args.clips:>6}{about['model']['bytes'] / 1e6:>7.1f}  {scores:>8.0e}"
        f"{p_values:>9.0e}{different:>11}{undecided:>13}",
        flush=True,
    )
    return args.clips


def clip_of(rng: np.random.Generator, paths: list[Path], number: int) -> np.ndarray:
    """A recording of another length, mostly with a fault of the machine or of the recorder."""
    clip, _ = soundfile.read(paths[number % len(paths)], dtype="float32")
    size = LENGTHS[number % len(LENGTHS)] * RATE
    clip = np.tile(clip, -(-size // len(clip)))[:size]
    start, loudness = rng.integers(size // 2), float(clip.std())
    fault = FAULTS[number % len(FAULTS)]
    if fault == "tone":
        clip = clip + loudness * rng.uniform(0.05, 1) * np.sin(np.arange(size) * rng.uniform(0.05, 3))
    elif fault == "knocks":
        clip[start : start + 1000] += 5 * loudness * rng.standard_normal(1000).astype(np.float32)
    elif fault == "clipped":
        clip = np.clip(clip, -1.5 * loudness, 1.5 * loudness)
    elif fault == "gap":
        clip[start : start + 800] = 0
    elif fault == "silent":
        clip = 1e-6 * clip
    elif fault == "dull":
        clip = sosfilt(butter(12, rng.uniform(1000, 7000), fs=RATE, output="sos"), clip)
    elif fault == "quiet":
        clip = 0.1 * clip
    return np.asarray(clip, dtype=np.float32)


def script(folder: Path):
    """The detector of the bundle's own score.py."""
    spec = spec_from_file_location("score", folder / "score.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Detector()


def measure_speed(bundle: Path) -> None:
    """In processes of their own, which load nothing else."""
    file = bundle.parent / "speed.wav"
    soundfile.write(file, 0.02 * np.random.default_rng(0).standard_normal(10 * RATE), RATE)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    starts = []
    for _ in range(10):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, bundle / "score.py", file], env=environment, check=True, capture_output=True)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        starts.append((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    code = (
        "import json, sys, time; import numpy as np; import onnxruntime as ort\n"
        "options = ort.SessionOptions(); options.intra_op_num_threads = 1\n"
        "session = ort.InferenceSession(sys.argv[1], options)\n"
        f"clip = 0.02 * np.random.default_rng(0).standard_normal((1, {10 * RATE})).astype(np.float32)\n"
        "times = []\n"
        "for _ in range(11):\n"
        "    wall, cpu = time.perf_counter(), time.process_time(); session.run(None, {'waveform': clip})\n"
        "    times.append((time.perf_counter() - wall, time.process_time() - cpu))\n"
        "print(json.dumps(np.median(times[1:], axis=0).tolist()))"
    )
    command = [sys.executable, "-c", code, bundle / "detector.onnx"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    (wall, cpu), (start, start_cpu) = json.loads(done.stdout), np.median(starts, axis=0)
    size = (bundle / "detector.onnx").stat().st_size / 1e6
    print(
        f"{bundle.stem:<32}{size:>7.1f} MB, first decision {start:.2f} s "
        f"(CPU {start_cpu:.2f}), 10 s clip {1000 * wall:.0f} ms (CPU {1000 * cpu:.0f}), "
        f"{10 / wall:.0f} times real time",
        flush=True,
    )


if __name__ == "__main__":
    main()
