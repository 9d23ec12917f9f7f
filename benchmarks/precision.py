"""
How fast an encoder embeds on this processor in other number formats, and what its embeddings and decisions lose.

    python benchmarks/precision.py WORK [--size bundled base] [--clips 4]
    python benchmarks/precision.py --scored runs/factory/score-A/test.parquet runs/factory/score-B/test.parquet

Clips of 10 s of a simulated machine, one thread, seconds of processor time (the best of three passes). Sizes: the
encoder of the package, and EAT-base with random weights. Formats: float32; products in bfloat16 (`--precision bf16`,
here also where the processor is slower with it), and the whole model in bfloat16; 8-bit weights and
activations of the linear layers by `torch.ao.quantization` (which torch is going to remove), by torchao where it is
installed, and by ONNX Runtime, with all 8 bits of the weights and with 7 (processors without VNNI add pairs of
products in 16 bits, which 8 bits overflow). The cosine is the lowest between embeddings in a format and in float32.

With `--scored` no time is measured: two tables of the same scored test clips are compared, for example those of a
recipe without and with `--fit.precision bf16`.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from datasets import Dataset
from onnxruntime.quantization import quantize_dynamic
from torch import nn

from hf_asd import EatConfig, EatFeatureExtractor, EatModel, TransformerEncoder
from hf_asd.data.schema import read_table
from hf_asd.evaluation.scores import compare_scores
from hf_asd.export.bundle_folder import export_is_quiet, nodes_of_layers
from hf_asd.models.bundled_encoder import BUNDLED_ENCODER
from hf_asd.models.pooling import pool


RATE = 16_000
POOLING = "bands_std"


class Pooled(nn.Module):
    """Log-mel frames -> embeddings."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return pool(self.model(frames).last_hidden_state, POOLING, self.model.config)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--scored", type=Path, nargs=2)
    parser.add_argument("--size", nargs="+", default=["bundled", "base"], choices=["bundled", "base"])
    parser.add_argument("--clips", type=int, default=4)
    args = parser.parse_args()
    if args.scored is not None:
        compare(*map(read_table, args.scored))
        return
    if args.work is None:
        parser.error("WORK is missing: a folder for graphs")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    args.work.mkdir(parents=True, exist_ok=True)
    for size in args.size:
        measure(args, size)


def compare(before: Dataset, after: Dataset) -> None:
    found = compare_scores(before, after)
    low, high = (100 * value for value in found["confidence_interval"])
    scores = [100 * found[system]["official_score"] for system in ("a", "b")]
    print(f"official score {scores[0]:.2f} -> {scores[1]:.2f} %; 95 % interval of the change {low:.2f} to {high:.2f}")
    order = {clip_id: row for row, clip_id in enumerate(after["clip_id"][:])}
    after = after.select([order[clip_id] for clip_id in before["clip_id"][:]])
    changed = np.not_equal(before["is_anomaly"][:], after["is_anomaly"][:])
    old, new = (np.array(rows["anomaly_score"][:]) for rows in (before, after))
    print(f"{changed.sum()} of {len(changed)} decisions changed")
    print(f"scores changed by {np.abs(new - old).max() / old.std():.1e} of their standard deviation, at most")


@torch.no_grad()
def measure(args: argparse.Namespace, size: str) -> None:
    if size == "base":
        torch.manual_seed(0)
        encoder = TransformerEncoder(EatModel(EatConfig()), EatFeatureExtractor(), POOLING)
    else:
        encoder = TransformerEncoder.from_pretrained(BUNDLED_ENCODER, POOLING)
    frames = encoder._inputs(clips(args.clips))
    expected: np.ndarray | None = None
    print(f"{'encoder':<10}{'format':<28}{'clips a second':>15}{'cosine':>10}")
    for name, embed in formats(Pooled(encoder.model).eval(), args.work / f"{size}.onnx", frames).items():
        found, seconds = embed(frames), []
        for _ in range(3):
            started = time.process_time()
            embed(frames)
            seconds.append(time.process_time() - started)
        expected = found if expected is None else expected
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosine = ((found * expected).sum(1) / lengths).min()
        print(f"{size:<10}{name:<28}{args.clips / min(seconds):>15.2f}{cosine:>10.5f}", flush=True)


def formats(model: Pooled, file: Path, frames: torch.Tensor) -> dict[str, Callable[[torch.Tensor], np.ndarray]]:
    half = deepcopy(model).bfloat16()
    found = {
        "torch float32": lambda x: model(x).numpy(),
        "torch bfloat16 products": autocast(model),
        "torch bfloat16": lambda x: half(x.bfloat16()).float().numpy(),
    }
    linear = torch.ao.quantization.quantize_dynamic(deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    found["torch.ao int8"] = lambda x: linear(x).numpy()
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # pyright: ignore
    except ImportError:
        print("torchao is not installed")
    else:
        other = deepcopy(model)
        quantize_(other, Int8DynamicActivationInt8WeightConfig())
        found["torchao int8"] = lambda x: other(x).numpy()
    return found | onnx_formats(model, file, frames)


def autocast(model: Pooled) -> Callable[[torch.Tensor], np.ndarray]:
    def embed(frames: torch.Tensor) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return model(frames).float().numpy()

    return embed


def onnx_formats(model: Pooled, file: Path, frames: torch.Tensor) -> dict[str, Callable[[torch.Tensor], np.ndarray]]:
    exported = deepcopy(model)
    exported.model.set_attn_implementation("eager")
    example = frames[:1].repeat(2, 1, 1)
    files = {"onnxruntime float32": file}
    with export_is_quiet():
        program = torch.onnx.export(
            exported, (example,), dynamo=True, dynamic_shapes=({0: "clips"},), input_names=["frames"], verbose=False
        )
        program.save(file)
        chosen = nodes_of_layers(program.model_proto)
        for bits in (8, 7):
            files[f"onnxruntime int8, {bits} bits"] = target = file.with_suffix(f".{bits}.onnx")
            quantize_dynamic(file, target, nodes_to_quantize=chosen, per_channel=True, reduce_range=bits == 7)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def runner(path: Path) -> Callable[[torch.Tensor], np.ndarray]:
        session = onnxruntime.InferenceSession(path, options)
        return lambda x: np.asarray(session.run(None, {"frames": x.numpy()})[0])

    return {name: runner(path) for name, path in files.items()}


def clips(count: int) -> list[np.ndarray]:
    rng, seconds = np.random.default_rng(0), np.arange(10 * RATE) / RATE
    tones = [
        sum(np.sin(2 * np.pi * rng.uniform(99, 101) * k * seconds) / k for k in range(1, 12)) for _ in range(count)
    ]
    return [(0.03 * tone + 0.02 * rng.standard_normal(len(seconds))).astype(np.float32) for tone in tones]


if __name__ == "__main__":
    main()
