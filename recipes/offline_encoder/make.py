"""
Makes the encoder that comes with the package, from recordings of a simulated factory only.

    python recipes/offline_encoder/make.py WORK                          # half an hour on two cores, 7 GB in WORK
    python recipes/offline_encoder/make.py WORK --places 8 --steps 20    # a test run of one minute

Training data are four of the factory's six machine types in many places: each place has its own unit, room,
microphone and hall, each clip its own speed and load, all random. Half of the clips of a place are normal; the others
have one of the type's faults. A small EAT learns to classify type and fault from mean and standard deviation over
time of each band. Its patch embedding keeps its random weights (Chen, Xie and He 2021, "An Empirical Study of Training
Self-Supervised Vision Transformers", section 4.1), so that it does not lose what no fault of the four types needs.
Fans and valves are not in the training data: the encoder is evaluated on them (benchmarks/power.py). A
second call resumes where the first stopped.
"""

import argparse
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import set_seed

from hf_asd import FinetuneConfig, PretrainConfig, finetune
from hf_asd.data.schema import dataset_from_rows
from hf_asd.files import whole_file, whole_folder
from hf_asd.models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from hf_asd.models.encoders import load_feature_extractor
from hf_asd.simulation.machines import MACHINES
from hf_asd.simulation.recording import Clip, generator, record_clip
from hf_asd.simulation.signals import RATE
from hf_asd.training.pretraining import init_encoder


TRAINING_MACHINES = ("pump", "gearbox", "bearing", "slider")
FIRST_SEED = 10_000  # of the places; the factories of benchmarks have smaller seeds
CLIPS_PER_PLACE = 20
SECONDS = 4.0
SNR_DB = (-2.0, 12.0)
KINDS = ("unit", "mic", "pat")  # attributes that are not numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--places", type=int, default=600, help="of each machine type")
    parser.add_argument("--steps", type=int, default=2000, help="of 48 clips")
    args = parser.parse_args()

    rows = simulate(args.work / "clips", args.places)
    fresh = save_random_encoder(args.work / "fresh", rows)
    classifier = finetune(rows, fresh, finetune_config(args.steps), args.work / "finetune")
    with whole_folder(args.work / "encoder") as partial:
        AttributeClassifier.from_pretrained(classifier).encoder.half().save_pretrained(partial)
        load_feature_extractor(classifier).save_pretrained(partial)
    print(args.work / "encoder")


def save_random_encoder(folder: Path, rows: Dataset) -> Path:
    """Saves an EAT with random weights if that is not done yet."""
    config = PretrainConfig(
        model={
            **{"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 512},
            "initial_weights": "normal",
        }
    )
    if not folder.is_dir():
        set_seed(config.seed)
        model, extractor = init_encoder(config, rows)
        with whole_folder(folder) as partial:
            model.save_pretrained(partial)
            extractor.save_pretrained(partial)
    return folder


def finetune_config(steps: int) -> FinetuneConfig:
    """Options of the training."""
    return FinetuneConfig(
        pooling="bands_std",
        loss="softmax",
        num_trainable_layers=4,  # all layers, but not the patch embedding
        crop_seconds=3.84,
        eq_db=4.0,
        gain_db=12.0,
        time_mask=0,
        frequency_mask=0,
        batch_size=48,
        max_steps=steps,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        weight_decay=0.05,
        warmup=0.05,
        save_steps=200,
        training={"dataloader_num_workers": 1},
    )


def simulate(folder: Path, places: int) -> Dataset:
    """Writes the clips that do not exist yet; the only attribute of a row is its fault, or none."""
    jobs = [(machine, place) for place in range(places) for machine in TRAINING_MACHINES]
    rows, missing = [], []
    for machine, place in jobs:
        for clip in plan(machine, place):
            file = folder / machine / f"{place:04d}_{clip.number:02d}.wav"
            rows.append(
                {
                    "path": file,
                    "machine": machine,
                    "clip_id": f"{machine}/{file.stem}",
                    "split": "train",
                    "condition": clip.condition,
                    "attributes": {"fault": clip.fault or "none"},
                }
            )
            if not file.is_file():
                missing.append((clip, FIRST_SEED + place, file))
        (folder / machine).mkdir(parents=True, exist_ok=True)

    def write(job: tuple[Clip, int, Path]):
        clip, seed, file = job
        content = io.BytesIO()
        soundfile.write(content, record_clip(clip, seed, SECONDS, SNR_DB), RATE, subtype="PCM_16", format="WAV")
        with whole_file(file) as partial:
            partial.write_bytes(content.getvalue())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(write, missing), total=len(missing), desc="simulating", unit="clip"):
            pass
    return dataset_from_rows(rows)


def plan(machine: str, place: int) -> list[Clip]:
    """The clips of a machine in a place; all of them have the same unit, microphone and domain."""
    rng = generator(FIRST_SEED + place, "school", machine)
    kind = MACHINES[machine]
    values = {key: sorted({*kind.source[key], *kind.target[key]}) for key in kind.source}
    kept = {key: str(rng.choice(values[key])) for key in ("unit", "mic") if key in values}
    domain = str(rng.choice(["source", "target"]))
    clips = []
    for number in range(CLIPS_PER_PLACE):
        attributes = {}
        for key, found in values.items():
            if key in KINDS:
                attributes[key] = kept.get(key) or str(rng.choice(found))
            else:
                numbers = np.array(found, dtype=float)
                attributes[key] = f"{rng.uniform(numbers.min(), numbers.max()):.4f}"
        fault, severity = None, 0.0
        if number % 2:
            fault, severity = str(rng.choice(kind.faults)), float(rng.uniform(0.3, 1))
        condition = "normal" if fault is None else "anomaly"
        clips.append(Clip(machine, "train", domain, condition, number, attributes, fault, severity))
    return clips


if __name__ == "__main__":
    main()
