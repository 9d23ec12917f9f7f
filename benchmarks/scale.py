"""
Memory and time of `embed`, `fit` and `score` of very many clips, by the number of clips and of processes.

    python benchmarks/scale.py WORK [--clips 10000 30000 100000] [--processes 1 2 4] [--machines 20]

Simulated shards are written to WORK: recordings of half a second of noise as `datasets` writes them, and embeddings of
296 values with structure (each machine has operating states, and dimensions that vary together), as `hf-asd embed`
writes them. `embed` runs an encoder that costs nothing, so that what is measured is all the rest. `fit` learns a
detector for each machine from the embeddings, `score` decides about as many others. A last line is one machine that
has all the clips, of which 2048 others are scored.

Every run is a program of its own, started by torchrun where there are several processes; what was measured in WORK is
not measured again. Memory is the largest resident set of the process that needs most. The figure shows it by the
number of clips.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasets import Audio, Dataset, Features, List, Value

from hf_asd.data.schema import arrow_table
from hf_asd.embedding.statistics import SpectralStatistics


DIMENSIONS, SHARD_ROWS, SAMPLES = 296, 1024, 8000
ONE_MACHINE_SCORED = 2048
STAGES = ("embed", "fit", "score")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--machines", type=int, default=20)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.worker, args.work)
    for count in args.clips:
        folder, one = args.work / f"{count}", args.work / f"{count}-one-machine"
        write_embeddings(folder / "embeddings", count, args.machines, seed=0)
        write_embeddings(folder / "new", count, args.machines, seed=1)
        write_embeddings(one / "embeddings", count, 1, seed=0)
        write_embeddings(one / "new", ONE_MACHINE_SCORED, 1, seed=1)
        if "embed" in args.stages:
            write_recordings(folder / "recordings", count, args.machines, seed=0)
        for processes in args.processes:
            for stage in args.stages:
                measure(folder, stage, processes, count, args.machines)
        for stage in (stage for stage in args.stages if stage != "embed"):
            measure(one, stage, 1, count, 1)
    results = [json.loads(file.read_text()) for file in sorted(args.work.glob("*/result-*.json"))]
    print_table(results)
    draw(results, Path(__file__).parent / "figures" / "scale.png")


def measure(folder: Path, stage: str, processes: int, clips: int, machines: int) -> None:
    """One stage, unless it was measured before."""
    file = folder / f"result-{stage}-{processes}.json"
    if not file.is_file():
        file.write_text(json.dumps(run(folder, stage, processes, clips, machines)))
    print(file.read_text(), flush=True)


def write_recordings(folder: Path, count: int, machines: int, seed: int) -> None:
    """Recordings as `datasets` writes them."""
    if folder.is_dir():
        return
    rng, partial = np.random.default_rng(seed), folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for number, (machine, rows) in enumerate(machine_rows(count, machines)):
        sound = rng.normal(0, 3000, (rows, SAMPLES)).astype("<i2")
        audio = [{"bytes": wav_header() + one.tobytes(), "path": f"{row}.wav"} for row, one in enumerate(sound)]
        plain = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}, "machine": Value("string")})
        made = Dataset.from_dict({"audio": audio, "machine": [machine] * rows}, features=plain)
        table = arrow_table(made.cast_column("audio", Audio(decode=False)))
        pq.write_table(table, partial / f"train-{number:05d}.parquet", row_group_size=100)
    partial.rename(folder)


def write_embeddings(folder: Path, count: int, machines: int, seed: int) -> None:
    """Embeddings as `hf-asd embed` writes them."""
    if folder.is_dir():
        return
    features = Features(
        {
            **{name: Value("string") for name in ("machine", "clip_id", "file", "domain", "condition")},
            "embedding": List(Value("float32"), length=DIMENSIONS),
        }
    )
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    fact = {b"hf_asd.encoder": SpectralStatistics().fingerprint.encode()}
    for number, (machine, rows) in enumerate(machine_rows(count, machines)):
        made = np.random.default_rng([int(machine), 0])  # of the machine; its clips differ by seed and shard
        states, mixing = made.normal(0, 3, (4, DIMENSIONS)), made.normal(0, 1, (12, DIMENSIONS))
        rng = np.random.default_rng([seed, number, 1])
        vectors = states[rng.integers(0, 4, rows)] + rng.normal(0, 1, (rows, 12)) @ mixing
        vectors += 0.5 * rng.normal(0, 1, (rows, DIMENSIONS))
        names = [f"{machine}/{number:06d}-{row:04d}.wav" for row in range(rows)]
        content = {"machine": [machine] * rows, "clip_id": names, "file": names, "domain": ["source"] * rows}
        content |= {"condition": ["normal"] * rows, "embedding": vectors.astype(np.float32)}
        table = arrow_table(Dataset.from_dict(content, features=features))
        metadata = (features.arrow_schema.metadata or {}) | fact
        pq.write_table(table.replace_schema_metadata(metadata), partial / f"part-{number:06d}.parquet")
    partial.rename(folder)


def machine_rows(count: int, machines: int) -> Iterator[tuple[str, int]]:
    """The machine and the number of rows of each shard."""
    for machine in range(machines):
        own = count // machines
        for start in range(0, own, SHARD_ROWS):
            yield f"{machine:03d}", min(SHARD_ROWS, own - start)


def wav_header() -> bytes:
    """Of mono 16-bit samples at 16 kHz."""
    size = 2 * SAMPLES
    numbers = [np.array([value], dtype=kind).tobytes() for value, kind in ((36 + size, "<u4"), (size, "<u4"))]
    form = np.array([1 | 1 << 16], dtype="<u4").tobytes() + np.array([16_000, 32_000], dtype="<u4").tobytes()
    form += np.array([2, 16], dtype="<u2").tobytes()
    return b"RIFF" + numbers[0] + b"WAVEfmt \x10\0\0\0" + form + b"data" + numbers[1]


class Instant:
    """An encoder that costs nothing."""

    dimensions, description, fingerprint = DIMENSIONS, "the first samples", "the first samples"

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        return np.stack([clip[:DIMENSIONS] for clip in clips])


def work(stage: str, folder: Path) -> None:
    """One stage in this process; its largest resident set is written down."""
    from hf_asd.cli import main as command
    from hf_asd.distributed import partial_state
    from hf_asd.shards.embedding import embed_parts
    from hf_asd.shards.reading import find_parts, find_shards

    started, cpu = time.perf_counter(), time.process_time()
    if stage == "embed":
        parts = find_parts(find_shards([folder / "recordings"]), by_machine=False)
        embed_parts(parts, Instant(), folder / "embed")
    else:
        inputs = ["embeddings"] if stage == "fit" else ["fit", "new"]
        words = [stage, *(str(folder / name) for name in inputs), "--output", str(folder / stage)]
        assert command(words) == 0
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    file = folder / f"memory-{partial_state().process_index}.json"
    file.write_text(json.dumps({"mib": peak, "seconds": seconds, "cpu": cpu}))


def run(folder: Path, stage: str, processes: int, clips: int, machines: int) -> dict:
    """One stage in programs of its own."""
    shutil.rmtree(folder / stage, ignore_errors=True)
    for file in folder.glob("memory-*.json"):
        file.unlink()
    launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    script = [*launch, str(Path(__file__).resolve()), str(folder), "--worker", stage]
    done = subprocess.run([sys.executable, *script], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = [json.loads(file.read_text()) for file in folder.glob("memory-*.json")]
    result = {"stage": stage, "clips": clips, "machines": machines, "processes": processes}
    result |= {"mib": max(one["mib"] for one in found), "seconds": max(one["seconds"] for one in found)}
    result["cpu_seconds"] = sum(one["cpu"] for one in found)
    result["rows_out"] = sum(pq.read_metadata(file).num_rows for file in (folder / stage).glob("part-*.parquet"))
    return result


def print_table(results: list[dict]) -> None:
    """As in benchmarks/README.md."""
    print("| stage | machines | clips | processes | memory of a process | CPU time |\n|---|---|---|---|---|---|")
    order = sorted(results, key=lambda one: (STAGES.index(one["stage"]), -one["machines"], one["clips"]))
    for one in order:
        words = [one["stage"], one["machines"], one["clips"], one["processes"]]
        print("| " + " | ".join(map(str, words)) + f" | {one['mib']:.0f} MiB | {one['cpu_seconds']:.0f} s |")


def draw(results: list[dict], path: Path) -> None:
    """Memory by the number of clips."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(STAGES), figsize=(9, 3), sharey=True, layout="constrained")
    for panel, stage in zip(axes, STAGES, strict=True):
        own = [one for one in results if one["stage"] == stage]
        for machines, processes in sorted({(one["machines"], one["processes"]) for one in own}, reverse=True):
            line = [one for one in own if (one["machines"], one["processes"]) == (machines, processes)]
            line = sorted(line, key=lambda one: one["clips"])
            label = f"{machines} machines, {processes} process{'es' * (processes > 1)}"
            label = "one machine, 1 process" if machines == 1 else label
            panel.plot([one["clips"] for one in line], [one["mib"] / 1024 for one in line], "o-", label=label)
        panel.set(title=stage, xlabel="clips", xscale="log")
        panel.grid(alpha=0.3)
    axes[0].set(ylabel="largest memory of a process in GiB", ylim=(0, None))
    axes[1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
