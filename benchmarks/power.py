"""
How many faults detectors find at the false-alarm rate that they were asked for, on machines that nobody tuned them on.

    python benchmarks/power.py WORK [--seeds 101 102 ...] [--references 10 30 100 990] [--plot FILE.png]

Three machines of each simulated factory (recordings of 10 s), half of the machine types in each factory. References
are normal clips, a tenth of them, at most ten, of the target domain; tested are 100 normal and 100 faulty clips of
both domains. With 990 references, and ten more of the target domain, only one machine of each of the first four
factories is measured. The factories of seeds 11 to 20 were for choosing, those of 101 to 110 for the figures in
README.md.

For each number of references and each system: the official score with its 95 % interval (bootstrap over machines), how
much more the first system has and the interval of that; the share of faults found where 5 and 1 % of the tested normal
clips lie higher; and what the system's own threshold for 5 and 1 % does: faults found, false alarms as multiples of
what was asked (in the source domain and in the target domain), and knocks found (30 dB above their octave, 64 ms,
added to normal clips; valves, which knock themselves, left out). Embeddings are kept in WORK; a second call continues
there.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from real_machines import add_knock
from scipy.fft import dct
from sklearn.covariance import ledoit_wolf_shrinkage
from tqdm.auto import tqdm

from hf_asd import DetectorConfig, SpectralStatistics, TransformerEncoder
from hf_asd.detection.backends.composite import ColumnScorer, FusedScorer, make_scorer
from hf_asd.detection.backends.events import WithEvents
from hf_asd.detection.backends.standardized import MaxDeviation
from hf_asd.detection.threshold import threshold_from
from hf_asd.embedding.band_statistics import band_statistics
from hf_asd.metrics.bootstrap import confidence_interval
from hf_asd.metrics.functional import auc, pauc
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.simulation.recording import draw_clip, record_clip


MANY, USUAL = 990, 100  # source clips of the first machine of each of the first factories, and of all others
MANY_FACTORIES = 4
DRAWS = {10: 2, 30: 2}
RATES = (0.05, 0.01)
PLOTTED_RATES, PLOTTED_REFERENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2), (30, 100)
NEW, BEFORE = "spectral statistics", "before: spectral statistics"
BESIDE, BESIDE_BEFORE = "with the bundled encoder", "before: with the bundled encoder"
MOST_FOLDS = 50
CLIP_SECONDS, SNR_DB = 10.0, (0.0, 9.0)
TARGET_CLIPS, TESTED_CLIPS, KNOCKED_CLIPS = 10, 50, 15
NUM_COEFFICIENTS = 40  # of a cepstrum
ENCODED = ("fan", "valve")  # machines that the bundled encoder did not train on
# Of each factory three machines, one of them with as many normal clips as the challenge's data sets have.
MACHINES = (("valve", "pump", "slider"), ("fan", "gearbox", "bearing"))
LOG_MEL = SpectralStatistics().feature_extractor.log_mel


def machines_of(seed: int) -> tuple[str, ...]:
    """The machines of a factory, first the one with many normal clips."""
    names = MACHINES[seed % 2]
    first = (seed - 1) // 2 % 3
    return (names[first], *names[:first], *names[first + 1 :])


def embed_machine(folder: Path, seed: int, machine: str, source_clips: int) -> dict[str, np.ndarray]:
    """
    Embeddings of a machine's clips, kept in a file.

    Args:
        folder (`Path`): where the file is or will be.
        seed (`int`): of the factory.
        machine (`str`): its name.
        source_clips (`int`): normal clips of the source domain to learn from; of the target domain ten.

    Returns:
        `dict[str, np.ndarray]`: `split` (train, test or knock), `domain`, `condition`, and by name of a system
        embeddings of shape `(clips, dimensions)`, float32.
    """
    path = folder / f"{seed}-{machine}.npz"
    if not path.exists():
        plan = [("train", "source", "normal", number) for number in range(source_clips)]
        plan += [("train", "target", "normal", number) for number in range(TARGET_CLIPS)]
        for domain in ("source", "target"):
            for condition in ("normal", "anomaly"):
                plan += [("test", domain, condition, number) for number in range(TESTED_CLIPS)]
        encoder = TransformerEncoder.from_pretrained(BUNDLED_ENCODER, "bands_std") if machine in ENCODED else None
        rows = []
        for split, domain, condition, number in plan:
            clip = record_clip(draw_clip(seed, machine, split, domain, condition, number), seed, CLIP_SECONDS, SNR_DB)
            rows.append(embed(clip, encoder) | {"split": split, "domain": domain, "condition": condition})
            if split == "test" and domain == "source" and condition == "normal" and number < KNOCKED_CLIPS:
                knocked = add_knock(np.random.default_rng([seed, number]), clip, 30.0)
                rows.append(embed(knocked, encoder) | {"split": "knock", "domain": domain, "condition": "anomaly"})
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **{key: np.stack([row[key] for row in rows]) for key in rows[0]})
        unfinished.rename(path)
    with np.load(path) as content:
        return dict(content)


def embed(clip: np.ndarray, encoder: TransformerEncoder | None) -> dict[str, np.ndarray]:
    samples = np.round(clip * 2**15).astype(np.float32) / 2**15
    log_mel = LOG_MEL(torch.from_numpy(samples)[None])[0]
    cepstrum = dct(log_mel.numpy(), axis=1, norm="ortho")[:, :NUM_COEFFICIENTS]
    found = {
        "band_statistics": band_statistics(log_mel).numpy(),
        "quantiles": log_mel.quantile(torch.tensor((0.1, 0.5, 0.9)), dim=0).flatten().numpy(),
        "mean": log_mel.mean(0).numpy(),
        "mfcc": np.concatenate([cepstrum.mean(0), cepstrum.std(0)]),
    }
    return found | ({} if encoder is None else {"encoder": encoder([samples])[0]})


class LedoitWolfDistance:
    """Mahalanobis distance by scikit-learn's shrinkage; with more than 100 clips left out in 50 folds."""

    def __init__(self, bank: torch.Tensor):
        self.bank = bank.double().numpy()
        self.mean = self.bank.mean(0)
        centered = self.bank - self.mean
        self.scale = centered.std()
        self.clips = centered / self.scale
        shrinkage = ledoit_wolf_shrinkage(self.clips, assume_centered=True)
        # The inverse of fewer clips than dimensions, by the matrix inversion lemma.
        self.ridge = max(shrinkage * np.square(self.clips).mean(), 1e-6)
        share = max(1 - shrinkage, 1e-12) / len(self.clips)
        self.inverse = np.linalg.inv(self.clips @ self.clips.T + self.ridge / share * np.eye(len(self.clips)))

    def score(self, queries: torch.Tensor) -> torch.Tensor:
        deviations = (queries.double().numpy() - self.mean) / self.scale
        products = deviations @ self.clips.T
        explained = np.einsum("ij,jk,ik->i", products, self.inverse, products)
        return torch.from_numpy(np.sqrt(np.maximum(np.square(deviations).sum(1) - explained, 0) / self.ridge))

    def leave_one_out(self) -> torch.Tensor:
        count = len(self.bank)
        scores = np.empty(count)
        for held in np.array_split(np.random.default_rng(0).permutation(count), count if count <= 100 else MOST_FOLDS):
            others = LedoitWolfDistance(torch.from_numpy(np.delete(self.bank, held, axis=0)))
            scores[held] = others.score(torch.from_numpy(self.bank[held])).numpy()
        return torch.from_numpy(scores)


def preset_before(bank: torch.Tensor) -> FusedScorer:
    """The standard preset of version 0.1.0."""
    return FusedScorer([MaxDeviation(bank), LedoitWolfDistance(bank)], "max")


def systems_of(clips: dict[str, np.ndarray], rows: np.ndarray, count: int) -> dict[str, tuple]:
    """By name: embeddings of all clips, scorer of the references, and how its threshold follows."""
    parts = {name: torch.from_numpy(value) for name, value in clips.items() if value.ndim == 2}
    statistics, quantiles = parts["band_statistics"], parts["quantiles"]
    config = DetectorConfig(statistics="band_statistics")
    without_events = make_scorer({"source": statistics[rows]}, replace(config, event_share=0))
    mahalanobis = DetectorConfig(statistics="mean", backends=("mahalanobis",))
    found = {
        NEW: (statistics, make_scorer({"source": statistics[rows]}, config), "tail"),
        "without events": (statistics, without_events, "tail"),
        BEFORE: (quantiles, preset_before(quantiles[rows]), "conformal"),
        "MFCC, Mahalanobis": (parts["mfcc"], LedoitWolfDistance(parts["mfcc"][rows]), "conformal"),
        "MFCC, standardized Mahalanobis": (
            parts["mfcc"],
            make_scorer({"source": parts["mfcc"][rows]}, mahalanobis),
            "conformal",
        ),
        "mean log-mel, 1-NN": (
            parts["mean"],
            make_scorer({"source": parts["mean"][rows]}, DetectorConfig(statistics="mean", preset="fast")),
            "conformal",
        ),
    }
    if "encoder" in parts:
        beside = torch.cat([statistics, parts["encoder"]], dim=1)
        both = make_scorer({"source": beside[rows]}, DetectorConfig(with_statistics=True))
        width = quantiles.shape[1]
        old = torch.cat([quantiles, parts["encoder"]], dim=1)
        columns = (slice(0, width), slice(width, None))
        old_parts = [ColumnScorer(preset_before(old[rows][:, chosen]), chosen) for chosen in columns]
        found |= {BESIDE: (beside, both, "tail"), BESIDE_BEFORE: (old, FusedScorer(old_parts), "conformal")}
    return found


def at_rate(scorer, rate: float):
    """The scorer for another false-alarm rate: events have a share of it."""
    if not isinstance(scorer, WithEvents):
        return scorer
    return WithEvents(scorer.scorer, scorer.events, DetectorConfig(false_alarm_rate=rate))


def measure(clips: dict[str, np.ndarray], count: int, draw: int) -> dict[str, dict]:
    split, domain, condition = clips["split"], clips["domain"], clips["condition"]
    rng, learned = np.random.default_rng([1, draw]), split == "train"
    source, target = np.flatnonzero(learned & (domain == "source")), np.flatnonzero(learned & (domain == "target"))
    num_target = min(10, max(1, count // 10))
    num_source = count if count == MANY else count - num_target
    rows = np.concatenate([rng.permutation(source)[:num_source], rng.permutation(target)[:num_target]])
    tested = split == "test"
    normal, faulty, knocked = tested & (condition == "normal"), tested & (condition != "normal"), split == "knock"
    results = {}
    for name, (embeddings, scorer, method) in systems_of(clips, rows, count).items():
        result = {}
        for rate in PLOTTED_RATES if name in (NEW, BEFORE) and count in PLOTTED_REFERENCES else RATES:
            own = at_rate(scorer, rate)
            threshold, _ = threshold_from(own.leave_one_out().numpy(), rate, method)
            scores = own.score(embeddings).numpy()
            if rate == RATES[0]:
                result["score"] = three_scores(scores, normal, faulty, domain)
            level = np.quantile(scores[normal], 1 - rate, method="weibull")
            alarms = scores > threshold
            result[rate] = {
                "reachable": (scores[faulty] > level).mean(),
                "found": alarms[faulty].mean(),
                "source": alarms[normal & (domain == "source")].mean() / rate,
                "target": alarms[normal & (domain == "target")].mean() / rate,
                "knocks": alarms[knocked].mean(),
            }
        results[name] = result
    return results


def three_scores(scores, normal, faulty, domain) -> list[float]:
    """AUC of each domain and partial AUC of both, as the official score takes them."""
    found = []
    for name in ("source", "target"):
        chosen = (normal & (domain == name)) | faulty
        found.append(auc(faulty[chosen].astype(int), scores[chosen]))
    chosen = normal | faulty
    return [*found, pauc(faulty[chosen].astype(int), scores[chosen])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(101, 111)))
    parser.add_argument("--references", type=int, nargs="+", default=[10, 30, 100, MANY])
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    machines = [(seed, name) for seed in args.seeds for name in machines_of(seed)]
    large = (
        {(seed, machines_of(seed)[0]) for seed in args.seeds[:MANY_FACTORIES]} if MANY in args.references else set()
    )
    # By number of references and system, of each machine a result for each draw.
    found = {count: defaultdict(dict) for count in args.references}
    for seed, name in tqdm(machines, desc="machines"):
        clips = embed_machine(args.work, seed, name, MANY if (seed, name) in large else USUAL)
        for count in args.references:
            if count == MANY and (seed, name) not in large:
                continue
            draws = [measure(clips, count, draw) for draw in range(DRAWS.get(count, 1))]
            for system in draws[0]:
                found[count][system][seed, name] = [draw[system] for draw in draws]
    for count, systems in found.items():
        print_table(count, systems)
    if args.plot:
        plot(args.plot, found)


def print_table(count: int, systems: dict[str, dict]) -> None:
    encoded = sorted(systems[BESIDE]) if BESIDE in systems else []
    for machines in (sorted(systems[NEW]), encoded):
        names = [name for name in systems if machines and set(machines) <= set(systems[name])]
        if not machines:
            continue
        print(f"\n{count} references, {len(machines)} machines")
        heading = ("found at 5 %", "at 1 %", *("found", "alarms/asked", "knocks") * 2)
        print(f"{'':<32}{'official score':>22}{'first system more':>22}" + "".join(f"{text:>14}" for text in heading))
        first = official_scores(systems[NEW], machines)
        for name in names:
            own = official_scores(systems[name], machines)
            low, high = confidence_interval(own[1:])
            more = confidence_interval((first - own)[1:])
            text = "" if name == NEW else f"{first[0] - own[0]:+.1f} ({more[0]:+.1f} to {more[1]:+.1f})"
            cells = [f"{own[0]:.1f} ({low:.1f} to {high:.1f})".rjust(22), text.rjust(22)]
            cells += [f"{mean_of(systems[name], machines, rate, 'reachable'):.3f}".rjust(14) for rate in RATES]
            for rate in RATES:
                alarms = [mean_of(systems[name], machines, rate, domain) for domain in ("source", "target")]
                quiet = [machine for machine in machines if machine[1] != "valve"]
                knocks = mean_of(systems[name], quiet, rate, "knocks")
                own_found = mean_of(systems[name], machines, rate, "found")
                cells += [f"{own_found:.3f}".rjust(14), f"{alarms[0]:.2f}, {alarms[1]:.2f}".rjust(14)]
                cells += [f"{knocks:.2f}".rjust(14)]
            print(f"{name:<32}" + "".join(cells))
        if BEFORE in names:
            print(ratios(systems, machines))


def official_scores(results: dict, machines: list) -> np.ndarray:
    """In %, of all machines, then of 2000 draws of as many."""
    values = np.array([1 / np.mean(1 / np.array([draw["score"] for draw in results[key]])) for key in machines])
    drawn = np.random.default_rng(0).integers(0, len(machines), (2000, len(machines)))
    return 100 / np.concatenate([[np.mean(1 / values)], np.mean(1 / values[drawn], axis=1)])


def mean_of(results: dict, machines: list, rate: float, what: str) -> float:
    return float(np.mean([draw[rate][what] for key in machines for draw in results[key]]))


def ratios(systems: dict, machines: list) -> str:
    """How many times as many faults are found as before, with intervals."""
    drawn = np.random.default_rng(0).integers(0, len(machines), (2000, len(machines)))
    texts = []
    for rate in RATES:
        new, old = (
            np.array([np.mean([draw[rate]["reachable"] for draw in systems[name][key]]) for key in machines])
            for name in (NEW, BEFORE)
        )
        low, high = confidence_interval(new[drawn].mean(1) / old[drawn].mean(1))
        texts.append(f"{new.mean() / old.mean():.2f} ({low:.2f} to {high:.2f}) times as many at {100 * rate:g} %")
    return "faults found, as a multiple of before: " + ", ".join(texts)


def plot(path: Path, found: dict) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    asked = 100 * np.array(PLOTTED_RATES)
    for count, line in zip(PLOTTED_REFERENCES, ("--", "-"), strict=True):
        for name, color in ((NEW, "tab:blue"), (BEFORE, "tab:gray")):
            results = found.get(count, {}).get(name)
            if results is None:
                continue
            machines, options = sorted(results), {"color": color, "linestyle": line, "marker": "."}
            label = f"{'now' if name == NEW else 'before'}, {count} references"
            shares = [100 * mean_of(results, machines, rate, "found") for rate in PLOTTED_RATES]
            axes[0].semilogx(asked, shares, label=label, **options)
            alarms = [100 * rate * mean_of(results, machines, rate, "source") for rate in PLOTTED_RATES]
            axes[1].loglog(asked, alarms, label=label, **options)
    axes[1].loglog(asked, asked, color="black", linewidth=0.5)
    for panel, text in zip(axes, ("faults found in %", "false alarms in % (source domain)"), strict=True):
        panel.set(xlabel="false alarms asked for in %", ylabel=text)
        panel.set_xticks(asked, [f"{rate:g}" for rate in asked])
        panel.minorticks_off()
    axes[1].set_yticks(asked, [f"{rate:g}" for rate in asked])
    axes[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
