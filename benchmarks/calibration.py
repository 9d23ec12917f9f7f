"""
Whether the share of false alarms stays below `--false-alarm-rate`: 200 simulated installations each with 10, 30, 100
and 990 normal clips, tested with new normal clips of the same machine, for every threshold method.

    python benchmarks/calibration.py

Embeddings are drawn: a machine of three operating states of unequal share, heavy-tailed (Student t, 5 degrees of
freedom), 64 correlated dimensions. power.py has the same for recordings of simulated machines.

One new clip of each installation raises an alarm or not: 200 draws, whose share lies in the printed binomial interval
in 95 of 100 such experiments. The mean over more new clips of each installation is a more exact estimate of the rate.
"asked" may lie below "promised": n clips cannot promise less than 1 / (n + 1) without an assumption on the
distribution of the scores.
"""

import argparse
import warnings
from typing import get_args

import numpy as np
import torch
from scipy.stats import binom
from tqdm.auto import tqdm

from hf_asd.detection.backends.composite import make_scorer
from hf_asd.detection.config import ScoringConfig, ThresholdMethod
from hf_asd.detection.threshold import threshold_from


SIZES = (10, 30, 100, 990)
RATES = (0.01, 0.05, 0.1)
FRESH = 25


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installations", type=int, default=200)
    parser.add_argument("--presets", nargs="+", default=["fast", "standard"])
    parser.add_argument("--methods", nargs="+", default=list(get_args(ThresholdMethod)))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    args = parser.parse_args()
    warnings.simplefilter(
        "ignore"
    )  # about gamma distributions that do not fit; the table shows what follows from them
    print(
        f"{'preset':<9}{'n':>4}{'threshold':>11}{'asked':>7}{'promised':>10}"
        f"{'first clip':>12}{'interval':>16}{'all clips':>11}  kept"
    )
    for preset in args.presets:
        for size in args.sizes:
            measure(args, preset, size)


def measure(args: argparse.Namespace, preset: str, size: int):
    alarms, promised = {}, {}
    for installation in tqdm(range(args.installations), leave=False):
        rng = np.random.default_rng([installation, size])
        clips = drawn(rng, size + FRESH)
        scorer = make_scorer({"source": clips[:size]}, ScoringConfig(preset=preset))
        leave_one_out_scores, fresh = scorer.leave_one_out().numpy(), scorer.score(clips[size:]).numpy()
        for method in args.methods:
            for rate in RATES:
                threshold, promised_rate = threshold_from(leave_one_out_scores, rate, method)
                alarms.setdefault((method, rate), []).append(fresh > threshold)
                promised.setdefault((method, rate), []).append(promised_rate)
    for (method, rate), found in alarms.items():
        mean_promised = np.mean(promised[method, rate])
        first, everything = np.mean([clip[0] for clip in found]), np.mean(found)
        low, high = binom.interval(0.95, args.installations, mean_promised)
        low, high = low / args.installations, high / args.installations
        kept = "yes" if first <= high else "NO"
        print(
            f"{preset:<9}{size:>4}{method:>11}{rate:>7.2f}{mean_promised:>10.3f}{first:>12.3f}"
            f"{f'{low:.3f} to {high:.3f}':>16}{everything:>11.3f}  {kept}",
            flush=True,
        )


def drawn(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Clips of a machine that is itself drawn."""
    mixing = rng.standard_normal((64, 64)) / 8
    states = 2 * rng.standard_normal((3, 64))
    chosen = rng.choice(3, size=count, p=(0.6, 0.3, 0.1))
    tails = np.sqrt(5 / rng.chisquare(5, size=(count, 1)))
    return torch.from_numpy(10 + states[chosen] + rng.standard_normal((count, 64)) @ mixing * tails).float()


if __name__ == "__main__":
    main()
