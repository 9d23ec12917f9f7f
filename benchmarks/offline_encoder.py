"""
How much the bundled encoder adds to spectral statistics, on machine types that it was not trained on.

    python benchmarks/offline_encoder.py WORK

Fans and valves of six simulated factories (990 + 10 normal training clips of 5 s each), none of which the encoder
was trained on (recipes/offline_encoder). Spectral statistics, the encoder, and both together, with the default
scoring, with 10, 30, 100 and all normal clips (of the target domain a tenth, two to ten). Printed are means of the
machines' official scores, and the 95 % interval (bootstrap over machines) of the difference to spectral statistics
alone. A second call continues where the first stopped.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from hf_asd import DetectorConfig, TransformerEncoder, embed
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.detection.backends.composite import make_scorer
from hf_asd.embedding.band_statistics import STATISTICS_SIZE
from hf_asd.embedding.embed import get_embeddings
from hf_asd.metrics.bootstrap import confidence_interval
from hf_asd.metrics.official_score import score_table
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("work", type=Path)
parser.add_argument("--seeds", type=int, nargs="+", default=[41, 42, 43, 44, 45, 46], help="of the factories")
parser.add_argument("--encoder", default=BUNDLED_ENCODER, help="another one to compare")
args = parser.parse_args()

COUNTS = (10, 30, 100, 1000)
# By name which dimensions are compared, and how.
SYSTEMS = {
    "spectral statistics": (slice(0, STATISTICS_SIZE), DetectorConfig(statistics="band_statistics")),
    "encoder": (slice(STATISTICS_SIZE, None), DetectorConfig()),
    "both": (slice(0, None), DetectorConfig(with_statistics=True)),
}

found = {(name, count): [] for name in SYSTEMS for count in COUNTS}
encoder = TransformerEncoder.from_pretrained(args.encoder, "bands_std", with_statistics=True)
for seed in args.seeds:
    config = FactoryConfig(machines=("fan", "valve"), clip_seconds=5.0, seed=seed)
    folder = write_factory(config, args.work / f"factory-{seed}")
    splits = load_dcase(folder, 2025, cache_dir=args.work / f"rows-{seed}")
    splits = {name: embed(splits[name], encoder, args.work / f"embedded-{seed}" / name) for name in ("train", "test")}
    vectors = {name: get_embeddings(rows) for name, rows in splits.items()}
    columns = {name: {key: np.array(rows[key][:]) for key in ("machine", "domain")} for name, rows in splits.items()}
    labels = (np.array(splits["test"]["condition"][:]) == "anomaly").astype(int)
    for machine in config.machines:
        tested = columns["test"]["machine"] == machine
        for count in COUNTS:
            banks = {}
            target = min(10, max(2, count // 10))
            for domain, size in {"source": count - target, "target": target}.items():
                own = (columns["train"]["machine"] == machine) & (columns["train"]["domain"] == domain)
                banks[domain] = vectors["train"][np.flatnonzero(own)[:size]]
            for name, (chosen, options) in SYSTEMS.items():
                scorer = make_scorer({domain: bank[:, chosen] for domain, bank in banks.items()}, options)
                scores = scorer.score(vectors["test"][torch.from_numpy(tested)][:, chosen]).numpy()
                where = (
                    np.full(tested.sum(), machine),
                    np.full(tested.sum(), "00"),
                    columns["test"]["domain"][tested],
                )
                table = score_table(labels[tested], scores, *where)
                found[name, count].append(100 * table["official_score"])

rng, machines = np.random.default_rng(0), 2 * len(args.seeds)
drawn = rng.integers(0, machines, (5000, machines))
print(f"{'':<22}" + "".join(f"{f'{count} clips':>26}" for count in COUNTS))
for name in SYSTEMS:
    cells = []
    for count in COUNTS:
        more = np.array(found[name, count]) - np.array(found["spectral statistics", count])
        low, high = confidence_interval(more[drawn].mean(1))
        interval = "" if name == "spectral statistics" else f" ({low:+.1f} to {high:+.1f})"
        cells.append(f"{np.mean(found[name, count]):.1f}{interval}")
    print(f"{name:<22}" + "".join(f"{cell:>26}" for cell in cells))
