"""
The embeddings that `benchmarks/scoring_stack.py` and `benchmarks/calibration.py` work on: six simulated factories of
two or three machines each, described by spectral statistics and by encoders under every pooling.

    python benchmarks/scoring_embeddings.py WORK                              # factories and spectral statistics
    for seed in 11 12 13 14 15 16; do                                         # all stages on each factory
        hf-asd run recipes/factory --factory null --data.path WORK/factory-$seed --output_dir WORK/chain-$seed \\
            --pretrain.max_steps 200
    done
    python benchmarks/scoring_embeddings.py WORK --encoder "frozen=WORK/chain-{seed}/pretrain-*/encoder" \\
        --encoder "finetuned=WORK/chain-{seed}/finetune-*/encoder"

WORK gets one folder for each factory (seeds and machines differ) and `embeddings/`; a second call continues there.
"""

import argparse
from glob import glob
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers.utils.logging import disable_progress_bar

from hf_asd.audio.reading import SAMPLING_RATE, read_audio
from hf_asd.data.dcase.loading import load_dcase
from hf_asd.embedding.band_statistics import SPECTRUM_SIZE
from hf_asd.embedding.statistics import SpectralStatistics
from hf_asd.embedding.transformer import TransformerEncoder
from hf_asd.models.pooling import pool
from hf_asd.simulation.config import FactoryConfig
from hf_asd.simulation.writer import write_factory


# Seed -> machines. As many clips as in the challenge: 990 of the source and 10 of the target domain a machine.
FACTORIES = {
    11: ("bearing", "fan"),
    12: ("gearbox", "pump", "valve"),
    13: ("slider", "bearing", "fan"),
    14: ("pump", "valve", "slider"),
    15: ("fan", "gearbox", "valve"),
    16: ("bearing", "gearbox", "slider"),
}
POOLINGS = (
    "mean",
    "cls",
    "gem",
    "rdp",
    "rdp_gem",
    "bands",
    "clean mean",
    "clean rdp_gem",
    "layers mean",
    "layers bands",
)


def write(work: Path, seed: int) -> Path:
    """A factory with 1000 clips to train on and 100 test clips a machine, 5 s each."""
    config = FactoryConfig(
        machines=FACTORIES[seed],
        seed=seed,
        num_source_train=990,
        num_target_train=10,
        num_test=25,
        clip_seconds=5.0,
    )
    return write_factory(config, work / f"factory-{seed}")


def rows_of(work: Path, seed: int):
    dataset = load_dcase(work / f"factory-{seed}", year=2025, cache_dir=work / f"rows-{seed}")
    return dataset["train"], dataset["test"]


def load(work: Path, seed: int, encoder: str, pooling: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of the training and of the test clips, float32."""
    with np.load(work / "embeddings" / f"{seed}-{encoder}-{pooling}.npz") as content:
        return torch.from_numpy(content["train"]), torch.from_numpy(content["test"])


@torch.inference_mode()
def statistics(audio: list) -> dict[str, np.ndarray]:
    found = {name: [] for name in ("band_statistics", "mean")}
    for start in tqdm(range(0, len(audio), 64), desc="statistics"):
        clips = [read_audio(item) for item in audio[start : start + 64]]
        for name, parts in found.items():
            # Of band statistics without those of events, which benchmarks/power.py measures.
            parts.append(SpectralStatistics(name)(clips)[:, :SPECTRUM_SIZE])
    return {name: np.concatenate(parts) for name, parts in found.items()}


@torch.inference_mode()
def poolings(encoder: TransformerEncoder, audio: list) -> dict[str, np.ndarray]:
    """One forward pass a clip, all poolings of its tokens."""
    model = encoder.model.encoder if encoder.is_classifier else encoder.model
    found = {name: [] for name in POOLINGS}
    for start in tqdm(range(0, len(audio), 16), desc="encoder"):
        clips = [read_audio(item) for item in audio[start : start + 16]]
        features = encoder.feature_extractor(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        hidden = model(features["input_values"], output_hidden_states=True).hidden_states
        layers = torch.stack(hidden[1:]).mean(0)
        for name, parts in found.items():
            kind, _, pooling = name.rpartition(" ")
            tokens = layers if kind == "layers" else hidden[-1]
            parts.append(pool(tokens, pooling, model.config, clamp_outlier_channels=kind == "clean").numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=PATTERN", help="folder of an encoder")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(FACTORIES))
    args = parser.parse_args()
    disable_progress_bar()
    (args.work / "embeddings").mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        write(args.work, seed)
        train, test = rows_of(args.work, seed)
        audio = [*train["audio"], *test["audio"]]
        for name, source in {"statistics": None, **dict(item.split("=", 1) for item in args.encoder)}.items():
            if list(args.work.glob(f"embeddings/{seed}-{name}-*.npz")):
                continue
            if source is None:
                found = statistics(audio)
            else:
                (folder,) = glob(source.format(seed=seed))
                found = poolings(TransformerEncoder.from_pretrained(folder), audio)
            for pooling, vectors in found.items():
                file = args.work / "embeddings" / f"{seed}-{name}-{pooling}.npz"
                np.savez(file, train=vectors[: len(train)], test=vectors[len(train) :])


if __name__ == "__main__":
    main()
