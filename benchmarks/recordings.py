"""
How well detectors find faults of a real machine from a few normal recordings.

    python benchmarks/recordings.py DIR [--encoder FOLDER_OR_HUB_ID ...] [--pooling bands_std]

DIR holds `normal/` and `anomaly/` (or machines' folders with the two). In each of 50 random splits (seed 0) ten normal
recordings are the reference; the other normal ones and all anomalous ones are scored. Printed are mean and standard
deviation of the AUC over the splits, and the share of alarms at the detector's own threshold.
"""

import argparse

import numpy as np
from datasets import concatenate_datasets
from transformers.utils.logging import disable_progress_bar

from hf_asd import AnomalyDetector, DetectorConfig, SpectralStatistics, TransformerEncoder, embed, load_folder
from hf_asd.metrics.functional import auc


disable_progress_bar()
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", metavar="DIR")
parser.add_argument("--encoder", action="append", default=[], help="a pretrained encoder; may be given several times")
parser.add_argument(
    "--pooling", default="mean", help="how the encoders' tokens become one embedding; a fine-tuned encoder has its own"
)
parser.add_argument("--with-statistics", action="store_true", help="spectral statistics beside the encoders")
parser.add_argument("--references", type=int, default=10)
parser.add_argument("--splits", type=int, default=50)
args = parser.parse_args()

dataset = load_folder(args.folder)
everything = concatenate_datasets(list(dataset.values()))
systems = {
    "spectral statistics": (SpectralStatistics(), DetectorConfig()),
    "spectral statistics, mean instead of quantiles": (SpectralStatistics("mean"), DetectorConfig()),
    "acoustic features": (SpectralStatistics("acoustic_features"), DetectorConfig()),
    "mean log-mel, nearest neighbor": (SpectralStatistics("mean"), DetectorConfig(preset="fast")),
}
for encoder in args.encoder:
    pretrained = TransformerEncoder.from_pretrained(encoder, args.pooling, with_statistics=args.with_statistics)
    systems[f"encoder {encoder}"] = (pretrained, DetectorConfig(with_statistics=args.with_statistics))

print(f"{'detector':<50}{'machine':>12}{'AUC':>8}{'std':>7}{'false alarms':>14}{'faults found':>14}")
for name, (encoder, config) in systems.items():
    rows = embed(everything, encoder)
    machines, conditions = np.array(rows["machine"][:]), np.array(rows["condition"][:])
    for machine in np.unique(machines):
        normal = np.flatnonzero((machines == machine) & (conditions == "normal"))
        anomalies = np.flatnonzero((machines == machine) & (conditions == "anomaly"))
        rng = np.random.default_rng(0)
        aucs, false_alarms, found = [], [], []
        for _ in range(args.splits):
            order = rng.permutation(normal)
            tested = np.concatenate([order[args.references :], anomalies])
            labels = np.isin(tested, anomalies).astype(int)
            detector = AnomalyDetector(encoder, config).fit(rows.select(order[: args.references]), with_reasons=False)
            scored = detector.score(rows.select(tested), check_input=False)
            aucs.append(auc(labels, np.array(scored["anomaly_score"][:])))
            alarms = np.array(scored["is_anomaly"][:])
            false_alarms.append(alarms[labels == 0].mean())
            found.append(alarms[labels == 1].mean())
        print(
            f"{name[-49:]:<50}{machine:>12}{np.mean(aucs):8.3f}{np.std(aucs):7.3f}"
            f"{np.mean(false_alarms):14.2f}{np.mean(found):14.2f}"
        )
