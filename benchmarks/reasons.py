"""
Whether the reasons name the right band and the right moment, and whether the detector abstains where it should and
only there.

    python benchmarks/reasons.py [--seed 200] [--machines fan pump ...]

A factory whose seed was not used to choose any option. Detectors are fitted with spectral statistics to 100 normal
clips a machine (90 source, 10 target). Then

1. known faults are mixed into new normal clips: a steady tone, a steady band of noise, a burst of noise of 1 to 3 s,
   a single knock, at 0 to 30 dB above the clip in the same third of an octave (tone), band (noise) or octave and 64 ms
   (knock). Of those that raised the alarm, how often does the first reason name the band within a third of an octave
   (the middle for noise and knocks; for noise also both edges), and the moment within half a second? The same for the
   clips that raised no alarm, whose reasons are computed for this comparison only.
2. the factory's own faults, whose true bands are those thirds of an octave that differ by at least half as much as the
   most different one, and 1 dB, from the same clip recorded without the fault.
3. normal clips that raised no alarm: how often are there reasons (never, as reasons are given for alarms only), and
   how often would there be any if they were computed all the same?
4. for which clips the detector abstains: faults (for none it should), normal clips, the machine switched off, clipped
   clips, clips of 8 kHz.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt, welch

from hf_asd import AnomalyDetector
from hf_asd.audio.acoustic_features import extract_features, log_grid
from hf_asd.data.schema import dataset_from_rows
from hf_asd.detection.explanation.reasons import explain
from hf_asd.detection.explanation.words import Reason
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import draw_clip, record_clip


RATE, SECONDS, SNR = 16_000, 10.0, (0.0, 9.0)
THIRDS = log_grid(20.0, 8000.0, 3)
INJECTED_DB = {kind: (0, 6, 12, 18) for kind in ("tone", "noise", "burst")} | {"knock": (12, 18, 24, 30)}
KNOCK = 1024  # samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=200)
    parser.add_argument("--machines", nargs="+", default=list(MACHINES), choices=list(MACHINES))
    parser.add_argument("--clips", type=int, default=24, help="fresh normal clips and faults a machine")
    args = parser.parse_args()
    counts = defaultdict(int)
    for number, machine in enumerate(args.machines):
        rng = np.random.default_rng([args.seed, number])
        detector = fit(args.seed, machine)
        half = args.clips // 2
        normal = [(domain, n) for domain in ("source", "target") for n in range(half)]
        for domain, n in normal:
            samples = record_clip(draw_clip(args.seed, machine, "test", domain, "normal", n), args.seed, SECONDS, SNR)
            count_normal(detector, samples, counts)
            for kind, levels in INJECTED_DB.items():
                for db in levels:
                    count_injected(detector, kind, db, *inject(rng, samples, kind, db), counts)
            for db in (0, 3, 6, 9):
                clip = draw_clip(args.seed, machine, "test", domain, "normal", n)
                off = record_clip(clip, args.seed, SECONDS, (db, db), is_running=False)
                counts["off", db, "all"] += 1
                counts["off", db, "abstained"] += detector(off, RATE).abstain_reason is not None
        for domain, n in normal:
            clip = draw_clip(args.seed, machine, "test", domain, "anomaly", n)
            faulty = record_clip(clip, args.seed, SECONDS, SNR)
            healthy = record_clip(replace(clip, fault=None, severity=0.0), args.seed, SECONDS, SNR)
            count_factory(detector, faulty, healthy, counts)
        time_reasons(detector, faulty, counts)
        print(f"{machine} done", flush=True)
    report(args, counts)


def fit(seed: int, machine: str) -> AnomalyDetector:
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for domain, count in (("source", 90), ("target", 10)):
            for n in range(count):
                path = Path(folder) / f"{domain}{n}.wav"
                clip = draw_clip(seed, machine, "train", domain, "normal", n)
                soundfile.write(path, record_clip(clip, seed, SECONDS, SNR), RATE, subtype="PCM_16")
                rows.append(
                    {
                        "path": path,
                        "machine": machine,
                        "section": "00",
                        "domain": domain,
                        "condition": "normal",
                        "attributes": {},
                        "split": "train",
                        "clip_id": path.name,
                    }
                )
        return AnomalyDetector(None).fit(dataset_from_rows(rows))


def inject(rng: np.random.Generator, samples: np.ndarray, kind: str, db: float):
    """The clip with a fault, and where it is: lowest and highest frequency, start and end (`None`: always)."""
    time_axis = np.arange(len(samples)) / RATE
    if kind == "tone":
        middle = float(np.exp(rng.uniform(np.log(50), np.log(6000))))
        low, high = middle / 2 ** (1 / 6), middle * 2 ** (1 / 6)
        sound, span = np.sin(2 * np.pi * middle * time_axis), (None, None)
        low_true, high_true = middle, middle
    else:
        width = 1.0 if kind == "knock" else rng.uniform(1 / 3, 1)
        middle = float(np.exp(rng.uniform(np.log(200), np.log(4500))))
        low, high = middle / 2 ** (width / 2), middle * 2 ** (width / 2)
        low_true, high_true = low, high
        noise = sosfilt(butter(4, (low, high), "bandpass", fs=RATE, output="sos"), rng.standard_normal(len(samples)))
        start = rng.uniform(0.5, SECONDS - 3.5)
        length = {"noise": None, "burst": rng.uniform(1, 3), "knock": 0.0}[kind]
        span = (None, None) if kind == "noise" else (start, start + length)
        shape = {
            "noise": 1.0,
            "burst": ((time_axis > start) & (time_axis < start + (length or 0))).astype(float),
            "knock": np.where(time_axis > start, np.exp(-(time_axis - start) / 0.03), 0),
        }[kind]
        sound = noise * shape
    band = butter(4, (low, min(high, 7900)), "bandpass", fs=RATE, output="sos")
    if kind in ("burst", "knock"):
        first = int(span[0] * RATE)
        inside = slice(first, first + (KNOCK if kind == "knock" else int((span[1] - span[0]) * RATE)))
    else:
        inside = slice(None)
    clip_power = np.median(
        [np.mean(np.square(part)) for part in np.array_split(sosfilt(band, samples), len(samples) // KNOCK)]
    )
    sound_power = np.mean(np.square(sosfilt(band, sound)[inside]))
    gain = np.sqrt(clip_power * 10 ** (db / 10) / sound_power)
    return (samples + gain * sound).astype(np.float32), (low_true, high_true), span


def count_normal(detector: AnomalyDetector, samples: np.ndarray, counts: dict):
    result = detector(samples, RATE, explain=True)
    counts["normal", "all"] += 1
    counts["normal", "abstained"] += result.abstain_reason is not None
    if result.is_anomaly is False:
        counts["normal", "quiet"] += 1
        counts["normal", "claimed"] += bool(result.reasons)
        computed = all_reasons(detector, samples)
        counts["normal", "computed"] += bool(computed)
        for reason in computed:
            print(f"  reason for a normal clip: {reason.text}")
    else:
        counts["normal", "alarms"] += result.is_anomaly is True
    loud = np.clip(samples * (0.5 / np.quantile(np.abs(samples), 0.99)), -0.5, 0.5)
    counts["clipped", "abstained"] += detector(loud, RATE).abstain_reason is not None
    low = soxr.resample(samples, RATE, 8000)
    counts["8 kHz", "abstained"] += detector(low, 8000).abstain_reason is not None


def all_reasons(detector: AnomalyDetector, samples: np.ndarray) -> list[Reason]:
    """What is unusual about a clip, for every decision of the detector."""
    machine, features = next(iter(detector.machines)), extract_features(samples)
    return explain(features, detector.profiles[machine], bands=detector.machines[machine].deviations.compare(samples))


def count_injected(detector, kind, db, samples, band, span, counts):
    result = detector(samples, RATE, explain=True)
    key = (kind, db)
    counts[*key, "all"] += 1
    counts["fault", "all"] += 1
    counts["fault", "abstained"] += result.abstain_reason is not None
    reasons = all_reasons(detector, samples) if result.is_anomaly is False else result.reasons
    named_reasons = [reason for reason in reasons if reason.kind != "cannot_tell"]
    name = "alarm" if result.is_anomaly else "quiet"
    counts[*key, name] += 1
    if not named_reasons:
        return
    counts[*key, name, "reasons"] += 1
    first = named_reasons[0]
    middle = np.sqrt(band[0] * band[1])
    has_band = first.low_hz is not None
    named = has_band and abs(octaves(np.sqrt(first.low_hz * first.high_hz), middle)) <= 1 / 3
    counts[*key, name, "band"] += named
    edges = has_band and max(abs(octaves(first.low_hz, band[0])), abs(octaves(first.high_hz, band[1])))
    counts[*key, name, "edges"] += named and edges <= 1 / 3
    counts[*key, name, "moment"] += (
        first.start_s is not None and span[0] is not None and abs(first.start_s - span[0]) <= 0.5
    )


def count_factory(detector, faulty, healthy, counts):
    result = detector(faulty, RATE, explain=True)
    counts["fault", "all"] += 1
    counts["fault", "abstained"] += result.abstain_reason is not None
    change = np.abs(third_octaves(faulty) - third_octaves(healthy))
    true = change >= max(change.max() / 2, 1.0)
    if not true.any():
        counts["factory", "without a band"] += 1
        return
    name = "alarm" if result.is_anomaly else "quiet"
    counts["factory", name] += 1
    reasons = all_reasons(detector, faulty) if result.is_anomaly is False else result.reasons
    named_reasons = [reason for reason in reasons if reason.kind != "cannot_tell"]
    if named_reasons and named_reasons[0].low_hz is not None:
        low, high = named_reasons[0].low_hz, named_reasons[0].high_hz
        middles = np.sqrt(THIRDS[1:] * THIRDS[:-1])[true]
        named = np.sqrt(low * high)
        inside = (middles >= low) & (middles <= high)
        counts["factory", name, "band"] += bool((np.abs(octaves(middles, named)) <= 1 / 3).any() or inside.any())
    counts["factory", name, "reasons"] += bool(named_reasons)


def third_octaves(samples: np.ndarray) -> np.ndarray:
    hertz, power = welch(samples, RATE, nperseg=8192)
    levels = 10 * np.log10(np.add.reduceat(power, np.searchsorted(hertz, THIRDS))[:-1])
    return levels - np.median(levels)


def octaves(a, b):
    return np.log2(a / b)


def time_reasons(detector, samples, counts):
    """Processor time, which other processes on the machine do not change."""
    for name, work in (
        ("ms a clip: acoustic features and reasons", lambda: all_reasons(detector, samples)),
        ("ms a clip: spectral statistics", lambda: detector.encoder([samples])),
    ):
        work()
        start = time.process_time()
        for _ in range(20):
            work()
        counts["time", name] = 1000 * (time.process_time() - start) / 20


def report(args: argparse.Namespace, counts: dict):
    print(f"\nseed {args.seed}, {len(args.machines)} machines, {args.clips} normal clips and factory faults each")
    print(
        "known faults: of those with an alarm, how many whose first reason names band (edges), moment; and the same "
        "of those without an alarm, with reasons computed for them all the same"
    )
    header = ("all", "alarm", "reasons", "band", "edges", "moment", "no alarm", "reasons", "band", "moment")
    print(f"{'fault':<14}" + "".join(f"{word:>9}" for word in header))
    total = defaultdict(int)
    for kind, levels in INJECTED_DB.items():
        for db in levels:
            row = {
                (name, *rest): counts[kind, db, name, *rest]
                for name in ("alarm", "quiet")
                for rest in ((), ("reasons",), ("band",), ("edges",), ("moment",))
            }
            line(f"{kind} {db} dB", counts[kind, db, "all"], row, kind in ("burst", "knock"))
            for name, value in row.items():
                total[name] += value
                if kind in ("burst", "knock"):
                    total["timed", *name] += value
    alarms, timed = total["alarm",], total["timed", "alarm"]
    print(f"known faults with an alarm: band named in {share(total['alarm', 'band'], alarms)}")
    print(f"bursts and knocks with an alarm: moment named in {share(total['timed', 'alarm', 'moment'], timed)}")
    for name, words in (("alarm", "with an alarm"), ("quiet", "without an alarm, reasons computed all the same")):
        with_reasons = counts["factory", name, "reasons"]
        print(
            f"factory faults {words}: {counts['factory', name]}, reasons for {with_reasons}, first one names a true "
            f"band in {share(counts['factory', name, 'band'], counts['factory', name])}, of those with reasons "
            f"{share(counts['factory', name, 'band'], with_reasons)}"
        )
    print(f"factory faults that change no third of an octave by 1 dB: {counts['factory', 'without a band']}")
    claimed = share(counts["normal", "claimed"], counts["normal", "quiet"])
    computed = share(counts["normal", "computed"], counts["normal", "quiet"])
    print(f"normal clips without an alarm: reasons for {claimed}; computed all the same, for {computed}")
    print(f"normal clips with an alarm: {share(counts['normal', 'alarms'], counts['normal', 'all'])}")
    print(f"abstained: faults {share(counts['fault', 'abstained'], counts['fault', 'all'])}")
    normals = counts["normal", "all"]
    print(f"abstained: normal clips {share(counts['normal', 'abstained'], normals)}")
    for db in (0, 3, 6, 9):
        abstained = share(counts["off", db, "abstained"], normals)
        print(f"abstained: machine off, {db} dB above the factory while on: {abstained}")
    for name in ("clipped", "8 kHz"):
        print(f"abstained: {name} clips {share(counts[name, 'abstained'], normals)}")
    for name in (name for kind, *name in counts if kind == "time"):
        print(f"{name[0]}: {counts['time', name[0]]:.1f}")


def line(name: str, count: int, row: dict, timed: bool):
    cells = [count, row["alarm",], *(row["alarm", word] for word in ("reasons", "band", "edges"))]
    cells += [row["alarm", "moment"] if timed else "", row["quiet",], row["quiet", "reasons"], row["quiet", "band"]]
    cells += [row["quiet", "moment"] if timed else ""]
    print(f"{name:<14}" + "".join(f"{cell:>9}" for cell in cells))


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "0 of 0"


if __name__ == "__main__":
    main()
