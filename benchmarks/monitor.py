"""
`hf-asd monitor` on a day of sound, sent through a pipe as fast as it reads: memory, speed, faults found, alarms.

    python benchmarks/monitor.py [--hours 24] [--machine bearing] [--seed 300]

A detector (no encoder, false-alarm rate 1 %) is fitted to 100 normal clips of a simulated machine. The stream consists
of windows of 10 s drawn from 400 new normal clips, with twelve episodes of two minutes in which the machine has a
severe fault (each of its faults in turn), half a minute of silence every two hours, and one clipped window. The
monitor runs in a separate process; its resident memory is read during the run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from hf_asd import AnomalyDetector, DetectorConfig, load_folder
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS, SNR = 16_000, 10.0, (0.0, 9.0)
EPISODES, EPISODE_WINDOWS = 12, 12


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--machine", default="bearing", choices=list(MACHINES))
    parser.add_argument("--seed", type=int, default=300)
    parser.add_argument("--statistics", default="band_statistics", help="what the detector compares clips by")
    args = parser.parse_args()
    windows = round(args.hours * 3600 / SECONDS)

    def record(split, condition, n, fault=None):
        clip = draw_clip(args.seed, args.machine, split, "source", condition, n)
        clip = clip if fault is None else replace(clip, fault=fault, severity=1.0)
        return record_clip(clip, args.seed, SECONDS, SNR)

    with tempfile.TemporaryDirectory() as folder:
        recordings = Path(folder) / args.machine
        recordings.mkdir()
        for n in range(100):
            soundfile.write(recordings / f"{n:03d}.wav", record("train", "normal", n), RATE, subtype="PCM_16")
        config = DetectorConfig(false_alarm_rate=0.01, statistics=args.statistics)
        detector = AnomalyDetector(None, config).fit(load_folder(recordings))
        detector.save_pretrained(Path(folder) / "detector")
        normal = [pcm(record("test", "normal", n)) for n in range(400)]
        faults = MACHINES[args.machine].faults
        episodes = {}
        for number in range(EPISODES):
            first = round((number + 0.7) * windows / EPISODES)
            fault = faults[number % len(faults)]
            sounds = [
                pcm(record("test", "anomaly", 100 * number + n, fault)) for n in range(min(EPISODE_WINDOWS, windows))
            ]
            episodes[first] = (fault, sounds)
        lines, memory, seconds = play(Path(folder) / "detector", windows, normal, episodes)
    report(args, windows, episodes, lines, memory, seconds)


def pcm(samples: np.ndarray) -> bytes:
    return np.round(samples * 2**15).astype("<i2").tobytes()


def play(detector: Path, windows: int, normal: list[bytes], episodes: dict):
    """Writes the stream into the monitor and reads its lines."""
    command = [sys.executable, "-m", "hf_asd", "monitor", str(detector), "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False)
    rng = np.random.default_rng(0)
    silence = bytes(2 * round(RATE * SECONDS))

    def write():
        window = 0
        while window < windows:
            if window in episodes:
                for sound in episodes[window][1]:
                    process.stdin.write(sound)
                window += EPISODE_WINDOWS
            elif window % 720 in (300, 301, 302):
                process.stdin.write(silence)
                window += 1
            elif window % 8640 == 1500:
                loud = np.frombuffer(normal[0], "<i2").astype(np.float32) * 30
                process.stdin.write(np.clip(loud, -32767, 32767).astype("<i2").tobytes())
                window += 1
            else:
                process.stdin.write(normal[rng.integers(len(normal))])
                window += 1
        process.stdin.close()

    writer = threading.Thread(target=write)
    writer.start()
    lines, memory, start = [], [], None
    for number, text in enumerate(process.stdout):
        start = start or time.perf_counter()  # from the first line on: without imports and loading
        lines.append(json.loads(text))
        if number % max(windows // 24, 1) == 0:
            memory.append(resident_mib(process.pid))
    seconds = time.perf_counter() - start
    writer.join()
    process.wait()
    return lines, memory, seconds


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")  # the process has ended


def report(args, windows, episodes, lines, memory, seconds):
    raised = [round(line["start_s"] / SECONDS) for line in lines if line.get("event") == "raised"]
    found = Counter()
    explained = set()
    for first, (fault, _) in episodes.items():
        # One window more: the last windows of an episode may still raise an alarm after it.
        inside = [window for window in raised if first <= window < first + EPISODE_WINDOWS + 1]
        found[fault] += bool(inside)
        explained |= set(inside)
        print(f"  {fault} from window {first}: {'alarm at window ' + str(inside[0]) if inside else 'not found'}")
    in_episode = {window for first in episodes for window in range(first, first + EPISODE_WINDOWS)}
    outside = [line for line in lines if "error" not in line and round(line["start_s"] / SECONDS) not in in_episode]
    print(f"machine {args.machine}, seed {args.seed}: {len(lines)} windows of {windows}, {args.hours:g} h of sound")
    print(f"windows a second: {(len(lines) - 1) / seconds:.1f} ({SECONDS * len(lines) / seconds:.0f} times real time)")
    print("resident memory in MiB every 24th of the stream: " + " ".join(f"{mib:.0f}" for mib in memory))
    print(f"episodes found: {sum(found.values())} of {len(episodes)}")
    print(f"alarms: {len(raised)}, outside the episodes: {len(set(raised) - explained)}")
    rate = np.mean([line["is_anomaly"] is True for line in outside])
    print(f"anomalous windows outside the episodes: {100 * rate:.2f} %")
    print(f"windows without a decision: {sum(line.get('abstain_reason') is not None for line in lines)}")
    print(f"errors: {sum('error' in line for line in lines)}")


if __name__ == "__main__":
    main()
