"""
Speed and memory of EAT-base on one GPU, in parts that can be left out; at most eight minutes.

    python benchmarks/gpu.py                             # on a GPU, EAT-base in bf16
    python benchmarks/gpu.py --size toy                  # on a CPU: every part at toy size, in seconds
    python benchmarks/gpu.py --parts pretrain embed      # only these

pretrain, finetune: clips/s, model FLOP utilization (PyTorch's counter against the GPU's dense bf16 peak, --peak) and
peak memory of a step, with the layers compiled and not. embed: clips/s of decoded clips. save: an encoder that was
converted, saved and loaded in bf16 gives what it gave before. ddp, fsdp: a training of two steps on one device starts
and ends.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from hf_asd import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel, TransformerEncoder
from hf_asd.models.attribute_classifier.configuration_attribute_classifier import AttributeClassifierConfig
from hf_asd.models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from hf_asd.models.eat.pretraining_eat import inverse_block_masks
from hf_asd.training.trainer import compile_layers


PARTS = ("pretrain", "finetune", "embed", "save", "ddp", "fsdp")
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "4090": 165}  # dense bf16, TFLOP/s
TOY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
TRAIN = """
import json, sys
from hf_asd import PretrainConfig, load_folder, pretrain
print(pretrain(load_folder(sys.argv[1])["train"], PretrainConfig(**json.loads(sys.argv[2])), sys.argv[3]))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--size", choices=("base", "toy"), default="base")
    parser.add_argument("--clips", type=int, help="clips a step (default: 48, toy: 2)")
    parser.add_argument("--peak", type=float, help="peak of the GPU in TFLOP/s, bf16 (default: known from its name)")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    toy = args.size == "toy"
    config = EatConfig(**TOY, decoder_layers=2) if toy else EatConfig()
    clips, frames = args.clips or (2 if toy else 48), 96 if toy else 1024
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, EAT-{args.size}, {clips} clips a step")
    for part in args.parts:
        if part in ("pretrain", "finetune"):
            for compiled in (False, True) if device.type == "cuda" else (False,):
                build = pretraining_step if part == "pretrain" else finetuning_step
                step = build(config, clips, frames, device, compiled)
                report(f"{part}, {'compiled' if compiled else 'not compiled'}", step, clips, device, args.peak)
        elif part == "embed":
            embed_clips(config, 8 if toy else 512, 1 if toy else 10, device)
        elif part == "save":
            save_and_load(config, device)
        elif part == "ddp" or device.type == "cuda":
            start_training(part, config, toy)
        else:
            print("fsdp: left out, there is no GPU")


def pretraining_step(config: EatConfig, clips: int, frames: int, device: torch.device, compiled: bool):
    """A step of pre-training with 16 masks a clip, on random inputs."""
    model = EatForPreTraining(config).to(device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    compile_layers([*model.eat.layers, *model.teacher.layers, model.decoder], compiled)
    values = torch.randn(clips, frames, config.num_mel_bins, device=device)
    generator = torch.Generator().manual_seed(0)
    visible = inverse_block_masks(16, frames // 16, 8, 0.8, 5, [generator] * clips).to(device)

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(values, visible, torch.arange(clips)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update_teacher(0.999)

    return step


def finetuning_step(config: EatConfig, clips: int, frames: int, device: torch.device, compiled: bool):
    """A step of fine-tuning all weights with 100 classes, on random inputs."""
    names = {number: str(number) for number in range(100)}
    model = AttributeClassifier(AttributeClassifierConfig(encoder_config=config, id2label=names)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    compile_layers([*model.encoder.layers], compiled)
    values = torch.randn(clips, frames, config.num_mel_bins, device=device)
    labels = torch.randint(0, 100, (clips,), device=device)

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(values, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def report(name: str, step, clips: int, device: torch.device, peak: float | None) -> None:
    """Prints speed, utilization and peak memory of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    on_gpu = device.type == "cuda"
    for _ in range(3 if on_gpu else 0):
        step()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    spent = statistics.median(seconds(step, device) for _ in range(10 if on_gpu else 1))
    reached = counter.get_total_flops() / spent / 1e12
    line = f"{name}: {clips / spent:.1f} clips/s, {reached:.3g} TFLOP/s"
    if on_gpu:
        peak = peak or next((found for key, found in PEAKS.items() if key in torch.cuda.get_device_name()), None)
        line += f", utilization {100 * reached / peak:.1f} % of {peak} TFLOP/s" if peak else ""
        line += f", peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    print(line, flush=True)


def seconds(work, device: torch.device) -> float:
    """Wall time of one call, the GPU's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def embed_clips(config: EatConfig, count: int, length: int, device: torch.device) -> None:
    """Prints how many decoded clips are embedded in a second."""
    encoder = TransformerEncoder(EatModel(config).to(device), EatFeatureExtractor(), batch_size=64)
    rng = np.random.default_rng(0)
    decoded = [rng.standard_normal(length * 16_000).astype(np.float32) for _ in range(count)]
    encoder(decoded[:64])
    spent = statistics.median(seconds(lambda: encoder(decoded), device) for _ in range(3))
    print(f"embed: {count / spent:.0f} clips/s of {length} s, decoded before", flush=True)


def save_and_load(config: EatConfig, device: torch.device) -> None:
    """Prints how far an encoder that was saved and loaded in bf16 differs from the one that was saved."""
    model = EatModel(config).to(device, torch.bfloat16).eval()
    values = torch.randn(2, 96, config.num_mel_bins, device=device, dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model.save_pretrained(folder)
        loaded = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
        difference = (loaded(values).last_hidden_state - model(values).last_hidden_state).abs().max().item()
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) / 2**20
    print(f"save: {size:.1f} MiB in bf16, largest difference after loading {difference:g}", flush=True)


def start_training(kind: str, config: EatConfig, toy: bool) -> None:
    """Runs two steps of pre-training on one device, as one process of a distributed training."""
    options = {
        "model": (TOY | {"decoder_layers": 2}) if toy else {},
        **{"max_steps": 2, "batch_size": 4, "num_masks": 2, "crop_seconds": 1.0, "save_steps": 2},
        "training": {"disable_tqdm": True},
    }
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "clips").mkdir()
        rng = np.random.default_rng(0)
        for number in range(8):
            soundfile.write(folder / "clips" / f"{number}.wav", 0.1 * rng.standard_normal(24_000), 16_000)
        (folder / "train.py").write_text(TRAIN)
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "1"]
        if kind == "fsdp":
            settings = Path(__file__).parents[1] / "recipes" / "accelerate" / "fsdp.yaml"
            launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)]
            launch += ["--num_processes", "1"]
        command = [*launch, str(folder / "train.py"), str(folder / "clips"), json.dumps(options), str(folder / "run")]
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        start = time.perf_counter()
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
        spent = time.perf_counter() - start
    state = "two steps" if done.returncode == 0 else f"failed: {done.stderr[-800:]}"
    print(f"{kind}: {state} in {spent:.0f} s, start included", flush=True)
    if done.returncode:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
