"""
How long a step of pre-training takes, and which share of it is spent outside the encoder.

    python benchmarks/pretraining.py                       # on a CPU: shares of the step, about two minutes
    python benchmarks/pretraining.py --bf16                # the same in half precision
    python benchmarks/pretraining.py --clips 48            # on a GPU: also bf16 model FLOP utilization and memory

EAT-base with random weights, clips of 10 s in WAV files, 16 masks a clip, everything as in training: a step starts
with reading the files and ends with the update of the teacher. Outside the encoder are decoding, filter bank, masks,
mask tokens, decoder, loss, optimizer and teacher update; inside are the teacher's forward pass and the student's
layers, forward and backward. Parts are timed separately, in turn with the whole step; printed are ratios of medians.

Model FLOP utilization counts the multiplications and additions of matrix products, convolutions and attention
(PyTorch's counter) against the GPU's dense peak in bf16 (--peak, in TFLOP/s).
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from hf_asd import (
    EatConfig,
    EatFeatureExtractor,
    EatForPreTraining,
    EatModel,
    PretrainConfig,
    TransformerEncoder,
    load_folder,
)
from hf_asd.models.attribute_classifier.configuration_attribute_classifier import AttributeClassifierConfig
from hf_asd.models.attribute_classifier.modeling_attribute_classifier import AttributeClassifier
from hf_asd.models.eat.pretraining_eat import inverse_block_masks
from hf_asd.training.pretraining import PretrainingCollator
from hf_asd.training.sampling import ClipSampler, CroppedClips, crop_lengths
from hf_asd.training.trainer import compile_layers


PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "4090": 165}  # dense bf16, TFLOP/s

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clips", type=int, default=2, help="clips a step (default: 2; on a GPU take 48)")
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument(
    "--bf16", action="store_true", help="also on a CPU, as training: {bf16: true} (a GPU does it anyway)"
)
parser.add_argument("--peak", type=float, help="peak of the GPU in TFLOP/s, bf16 (default: known from its name)")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
on_gpu = device.type == "cuda"
autocast = partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=on_gpu or args.bf16)
torch.manual_seed(0)


def seconds(work) -> float:
    """Wall time of one call, the GPU's work included."""
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def utilization(name: str, step, clips: int):
    """Warms up, counts a step's operations, times it, and prints what share of the GPU's peak it reached."""
    with FlopCounterMode(display=False) as counter:
        step()
    for _ in range(3):
        step()
    torch.cuda.reset_peak_memory_stats()
    spent = statistics.median(seconds(step) for _ in range(10))
    peak = args.peak or next((tflops for key, tflops in PEAKS.items() if key in torch.cuda.get_device_name()), None)
    reached = counter.get_total_flops() / spent / 1e12
    share = f"{100 * reached / peak:.1f} % of {peak} TFLOP/s" if peak else f"unknown, {reached:.1f} TFLOP/s"
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(f"{name}: {clips / spent:.1f} clips/s, MFU {share}, peak memory {memory:.1f} GiB")


def optimizer_of(model):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=True)


config = PretrainConfig()
model = EatForPreTraining(EatConfig()).to(device)
extractor, optimizer = EatFeatureExtractor(), optimizer_of(model)
collator = PretrainingCollator(extractor, config)

with tempfile.TemporaryDirectory() as folder:
    rng = np.random.default_rng(0)
    for number in range(args.clips):
        soundfile.write(Path(folder) / f"{number:03d}.wav", 0.1 * rng.standard_normal(160_000), 16_000)
    rows = load_folder(folder)["train"]
    dataset, lengths = CroppedClips(rows), crop_lengths(rows, 992)
    draws = list(ClipSampler(lengths, args.clips, steps=1))

    def batch():
        return {name: value.to(device) for name, value in collator([dataset[draw] for draw in draws]).items()}

    def update(inputs):
        with autocast():
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 4.0)
        optimizer.step()
        optimizer.zero_grad()
        model.update_teacher(0.999)

    clips, inputs = [dataset[draw] for draw in draws], batch()
    samples = [clip["samples"] for clip in clips]
    generator = torch.Generator().manual_seed(0)
    kept = inputs["visible"].shape[-1] + 1
    shape = (args.clips * config.num_masks, kept, model.config.hidden_size)
    tokens = torch.randn(shape, device=device, requires_grad=True)
    grid = torch.randn(shape[0], shape[2], 62, 8, device=device, requires_grad=True)

    def student():
        with autocast():
            hidden_states = tokens
            for layer in model.eat.layers:
                hidden_states = layer(hidden_states)
        hidden_states.sum().backward()

    def decoder():
        with autocast():
            filled = model.decoder(grid)
        filled.sum().backward()

    def teacher():
        with autocast():
            model.targets(inputs["input_values"])

    parts = {
        "teacher, forward": teacher,
        "student's layers, forward and backward": student,
        "decoder, forward and backward": decoder,
        "reading and decoding": lambda: [dataset[draw] for draw in draws],
        "filter bank": lambda: extractor(samples, sampling_rate=16_000, return_tensors="pt"),
        "masks": lambda: inverse_block_masks(16, 62, 8, 0.8, 5, [generator] * len(clips)),
        "mask tokens": lambda: model.mask_tokens((16, 496, 768), inputs["augmentation_seeds"], device),
        "teacher's update": lambda: model.update_teacher(0.999),
        "optimizer": optimizer.step,
    }
    compile_layers([*model.eat.layers, *model.teacher.layers, model.decoder], on_gpu)
    update(inputs)  # the first step is slower
    times = {name: [] for name in ("step", *parts)}
    for _ in range(args.repeats):
        times["step"].append(seconds(lambda: update(batch())))
        for name, work in parts.items():
            times[name].append(seconds(work))
        optimizer.zero_grad()
    medians = {name: statistics.median(values) for name, values in times.items()}
    step = medians.pop("step")
    print(
        f"{args.clips} clips a step, {args.clips / step:.3f} clips/s, {device.type}, {torch.get_num_threads()} threads"
    )
    for name, spent in medians.items():
        print(f"  {100 * spent / step:5.1f} %  {name}")
    inside = sum(medians[name] for name in list(parts)[:2])
    print(f"outside the encoder: {100 * (1 - inside / step):.1f} % of the step")

    if on_gpu:
        utilization("pre-training", lambda: update(inputs), args.clips)
        del model, optimizer, inputs, tokens, grid
        torch.cuda.empty_cache()
        names = {number: str(number) for number in range(100)}
        config = AttributeClassifierConfig(encoder_config=EatConfig(), id2label=names)
        classifier = AttributeClassifier(config).to(device)
        compile_layers([*classifier.encoder.layers], True)
        optimizer = optimizer_of(classifier)
        values = torch.randn(args.clips, 992, 128, device=device)
        labels = torch.randint(0, 100, (args.clips,), device=device)

        def finetune_step():
            with autocast():
                loss = classifier(values, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        utilization("fine-tuning", finetune_step, args.clips)
        del classifier, optimizer
        encoder = TransformerEncoder(EatModel(EatConfig()).to(device), extractor, batch_size=64)
        torch.set_float32_matmul_precision("high")
        decoded = [rng.standard_normal(160_000).astype(np.float32) for _ in range(512)]
        encoder(decoded[:64])
        spent = statistics.median(seconds(lambda: encoder(decoded)) for _ in range(3))
        print(f"embedding, audio already decoded: {512 / spent:.0f} clips/s")
