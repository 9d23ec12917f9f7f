"""
How long the command line and the import take, as ratios to `python -c "import torch"` on the same machine.

    python benchmarks/startup.py

Every command runs in a process of its own, all in turn; the table shows the medians. The exit code is 1 where a ratio
is above its bar. `import hf_asd` imports names only when they are asked for, so that the import of the detector is
shown as well. `score` decides about one clip with a detector of spectral statistics, which is fitted to generated
clips before anything is measured.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile


ROOT = Path(__file__).parents[1]
RATE, SECONDS, CLIPS = 16_000, 2.0, 12
REFERENCE = "import torch"
# The highest accepted ratio to `import torch`; where there is none, the time is only shown.
BARS = {
    "hf-asd --help": 0.5,
    "hf-asd fit --help": 0.5,
    "import hf_asd": 2.0,
    "import the detector": None,
    "hf-asd score of one clip": 2.2,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each command (default: 7)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = prepare(Path(folder))
        times = {name: [] for name in commands}
        run_all(commands)  # the first time files are read from disk and compiled
        for _ in range(args.repeats):
            for name, seconds in run_all(commands).items():
                times[name].append(seconds)
    return report({name: statistics.median(values) for name, values in times.items()})


def prepare(folder: Path) -> dict[str, list[str]]:
    """The measured commands; `score` gets a detector and a clip in `folder`."""
    write_clips(folder / "my_fan", CLIPS)
    write_clips(folder / "new", 1)
    hf_asd = [sys.executable, "-m", "hf_asd"]
    detector = str(folder / "detector")
    run([*hf_asd, "fit", str(folder / "my_fan"), "--output", detector, "--encoder", "none"])
    return {
        REFERENCE: [sys.executable, "-c", "import torch"],
        "hf-asd --help": [*hf_asd, "--help"],
        "hf-asd fit --help": [*hf_asd, "fit", "--help"],
        "import hf_asd": [sys.executable, "-c", "import hf_asd"],
        "import the detector": [sys.executable, "-c", "from hf_asd import AnomalyDetector"],
        "hf-asd score of one clip": [*hf_asd, "score", detector, str(folder / "new")],
    }


def write_clips(folder: Path, count: int):
    """Clips of a machine with a tone at 100 Hz and its harmonics."""
    folder.mkdir()
    rng, seconds = np.random.default_rng(0), np.arange(int(RATE * SECONDS)) / RATE
    for number in range(count):
        tones = sum(np.sin(2 * np.pi * 100 * k * seconds) / k for k in range(1, 6))
        samples = rng.uniform(0.08, 0.12) * tones + 0.02 * rng.standard_normal(len(seconds))
        soundfile.write(folder / f"{number:02d}.wav", samples, RATE)


def run_all(commands: dict[str, list[str]]) -> dict[str, float]:
    return {name: run(command) for name, command in commands.items()}


def run(command: list[str]) -> float:
    """Runs a command and returns its wall time in seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return seconds


def report(medians: dict[str, float]) -> int:
    reference = medians[REFERENCE]
    print(f"{'command':<28}{'seconds':>9}{'ratio':>8}{'bar':>7}")
    print(f"{REFERENCE:<28}{reference:9.2f}{1:8.2f}")
    missed = 0
    for name, bar in BARS.items():
        ratio = medians[name] / reference
        is_missed = bar is not None and ratio > bar
        missed += is_missed
        print(f"{name:<28}{medians[name]:9.2f}{ratio:8.2f}{bar or '':>7}{'  missed' if is_missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
