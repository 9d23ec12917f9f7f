"""
How fast the simulated factory is written, and how well detectors without training find its faults.

    python benchmarks/factory.py                                  # the default factory, 7200 clips of 10 s
    python benchmarks/factory.py --small --seeds 0 1 2            # 200 training clips a machine, three factories

Speed is a ratio to real time: seconds of sound written per second. The official score of the nearest neighbor on mean
log-mel should lie between 55 and 70 %: at a lower score no system would find the faults, at a higher one all would,
and systems could not be compared.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from hf_asd.data.dcase.loading import load_dcase
from hf_asd.detection.config import DetectorConfig
from hf_asd.detection.detector import AnomalyDetector
from hf_asd.evaluation.scores import evaluate_scores, format_table
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


DETECTORS = {
    "mean log-mel, nearest neighbor": DetectorConfig(statistics="mean", preset="fast"),
    "spectral statistics": DetectorConfig(),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one factory each")
    parser.add_argument("--small", action="store_true", help="190 + 10 training and 100 test clips a machine")
    parser.add_argument("--num_workers", type=int, help="clips made at the same time (default: one a processor)")
    parser.add_argument("--no-scores", action="store_true", help="measure the speed only")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()

    figures = []
    for seed in arguments.seeds:
        sizes = {"num_source_train": 190, "num_test": 25} if arguments.small else {}
        config = FactoryConfig(seed=seed, num_workers=arguments.num_workers, **sizes)
        with tempfile.TemporaryDirectory() as folder:
            figures.append({"seed": seed} | measure(config, Path(folder), not arguments.no_scores))
    for name in DETECTORS if not arguments.no_scores else ():
        scores = [100 * figure["official_scores"][name]["all"] for figure in figures]
        print(f"{name}: {np.mean(scores):.2f} % on average over seeds {arguments.seeds}, spread {np.std(scores):.2f}")
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1))


def measure(config: FactoryConfig, folder: Path, scores: bool) -> dict:
    """Figures of one factory; it is written into `folder`."""
    begin = time.perf_counter()
    write_factory(config, folder / "factory")
    seconds = time.perf_counter() - begin
    clips = len(list(folder.glob("factory/*/*/*.wav")))
    ratio = clips * config.clip_seconds / seconds
    workers = config.num_workers or os.cpu_count()
    print(f"seed {config.seed}: {clips} clips in {seconds:.1f} s, {ratio:.0f} times real time, {workers} workers")
    figures = {"clips": clips, "seconds": seconds, "times_real_time": ratio, "official_scores": {}}
    if scores:
        dataset = load_dcase(folder / "factory", year=2025, cache_dir=folder / "rows")
        for name, detector_config in DETECTORS.items():
            detector = AnomalyDetector(None, detector_config).fit(dataset["train"], with_reasons=False)
            scored = detector.score(dataset["test"], check_input=False)
            result = evaluate_scores(scored, 2025)
            print(f"{name}\n{format_table(result)}\n", flush=True)
            machines = {machine: means["official_score"] for machine, means in result["machines"].items()}
            figures["official_scores"][name] = machines | {"all": result["official_score"]}
    return figures


if __name__ == "__main__":
    main()
