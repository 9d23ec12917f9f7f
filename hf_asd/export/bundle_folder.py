"""Writes a bundle: the graph, what is known about it, and a script that runs it without this package."""

import hashlib
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio.channels import describe_channel
from ..audio.reading import SAMPLING_RATE
from ..detection.detector import AnomalyDetector
from ..detection.explanation.band_deviations import mel_hertz
from ..detection.training_summary import usual_seconds
from ..embedding.band_statistics import MELS_APART, MELS_PER_BAND, NUM_BANDS
from ..embedding.transformer import TransformerEncoder
from ..files import write_json
from ..folders import FolderKind, replaced_folder
from ..options import check_word
from ..version import __version__
from .config import Precision
from .embeddings import TransformerEmbedding
from .graph import OUTPUTS, DetectorGraph
from .input_checks import REASONS
from .stored_faults import LONGEST_SAMPLES


logger = logging.getLogger(__name__)

MODEL, ABOUT, SCRIPT = "detector.onnx", "detector.json", "score.py"
BUNDLE_VERSION = 1
OPSET = 20
BUNDLE_FOLDER = FolderKind("bundle", MODEL, lambda name: name in (MODEL, ABOUT, SCRIPT))
LEFT_OUT = (
    "resampling: recordings of another sampling rate are refused; clipping and gaps cannot be seen in those that were "
    "resampled before",
    "reasons in words and the most similar normal recordings; band_deviations are given instead",
    "the doubt about an alarm after resampling: where only the highest 125 Hz differ from the normal recordings, the "
    "package makes no decision and the bundle may say anomaly",
)
SCOPES = "pkg.torch.onnx.name_scopes"  # the modules that a node comes from
LARGEST_DIFFERENCE = 1e-4  # of scores, relative
CHECKED_SECONDS = 2.0


def export_bundle(
    detector: AnomalyDetector, output: str | Path, machine: str | None = None, precision: Precision = "fp32"
) -> dict:
    """
    Writes one machine of a detector as a bundle: `detector.onnx`, `detector.json` and `score.py`.

    Args:
        detector ([`AnomalyDetector`]): a fitted one.
        output (`str` or `Path`): folder; an older bundle in it is replaced as a whole.
        machine (`str`, *optional*): needed where the detector knows several.
        precision (`"fp32"` or `"int8"`, *optional*, defaults to `"fp32"`): of the weights of the encoder's matrices.

    Returns:
        `dict`: the content of `detector.json`.

    Raises:
        ValueError: something in the detector has no counterpart in a bundle; says what, and what to do.
        ImportError: the packages of the extra `export` are missing.
    """
    check_word("precision", precision, Precision)
    _check_packages()
    name = detector.known_machine(machine)
    graph = DetectorGraph(detector, name).eval()
    about = _about(detector, name, graph)
    if precision == "int8" and not isinstance(graph.embed, TransformerEmbedding):
        raise ValueError(
            "precision is int8, but this detector has no encoder whose weights could be rounded; leave it out."
        )
    logger.info("%s: writing its graph, which takes half a minute", name)
    model = graph_to_onnx(graph)
    if precision == "int8":
        model = _with_int8_weights(model)
    largest = largest_difference(detector, name, model)
    if precision == "fp32" and largest > LARGEST_DIFFERENCE:
        raise AssertionError(f"the scores of the bundle differ from the detector's by {largest:.1e}, relative.")
    with replaced_folder(output, BUNDLE_FOLDER) as folder:
        shutil.copyfile(Path(__file__).parent / "bundle" / SCRIPT, folder / SCRIPT)
        digest = hashlib.sha256(model).hexdigest()
        about["model"] |= {"precision": precision, "bytes": len(model), "sha256": digest}
        about["model"]["largest_relative_difference"] = largest
        write_json(folder / ABOUT, about)
        (folder / MODEL).write_bytes(model)
    return about


def graph_to_onnx(graph: DetectorGraph) -> bytes:
    """
    A graph in the format of ONNX, for any number of clips of any length.

    Args:
        graph ([`DetectorGraph`]): in evaluation mode.
    """
    example = torch.zeros(2, round(CHECKED_SECONDS * SAMPLING_RATE))
    with export_is_quiet():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            dynamic_shapes={"waveform": {0: "clips", 1: "samples"}},
            input_names=["waveform"],
            output_names=graph.output_names,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None  # it returns none only without dynamo
    content = program.model_proto
    for key, value in {"hf_asd": __version__, "sampling_rate": str(SAMPLING_RATE)}.items():
        content.metadata_props.add(key=key, value=value)
    return content.SerializeToString()


def largest_difference(detector: AnomalyDetector, machine: str, model: bytes) -> float:
    """
    The largest relative difference between the scores of a detector and of its graph, over noises of several lengths.

    Args:
        detector ([`AnomalyDetector`]): the original.
        machine (`str`): one of its machines.
        model (`bytes`): of [`graph_to_onnx`].
    """
    import onnxruntime

    session, rng = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]), np.random.default_rng(0)
    encoder, differences = detector.encoder, []
    # The graph computes in float32 whatever the detector does.
    exact = encoder.computing_in("fp32") if isinstance(encoder, TransformerEncoder) else nullcontext()
    with exact:
        for seconds in (CHECKED_SECONDS, CHECKED_SECONDS + 1.23):
            noise = (0.01 * rng.standard_normal((2, round(seconds * SAMPLING_RATE)))).astype(np.float32)
            expected = detector.machines[machine].scorer.score(torch.from_numpy(encoder(list(noise)))).numpy()
            found = np.asarray(session.run(["anomaly_score"], {"waveform": noise})[0])
            differences.append(np.abs(found - expected).max() / np.abs(expected).max())
    return float(max(differences))


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{', '.join(missing)}: missing, and needed to write a bundle. Install hf_asd with its extra `export`, or "
            f"run pip install {' '.join(missing)}."
        )


def _about(detector: AnomalyDetector, machine: str, graph: DetectorGraph) -> dict[str, Any]:
    channel = detector.config.channel
    if not isinstance(channel, int):
        raise ValueError(
            f"the detector uses {describe_channel(channel)}, but a bundle takes one channel of a recording; fit with "
            "--channel 0."
        )
    bank, seconds = detector.machines[machine], usual_seconds(detector.training_summary, machine)
    longest = graph.embed.max_samples if isinstance(graph.embed, TransformerEmbedding) else LONGEST_SAMPLES
    if seconds is not None and longest < seconds * SAMPLING_RATE:
        raise ValueError(
            f"the normal recordings of {machine} are {seconds:.4g} s long, but a bundle embeds at most "
            f"{longest / SAMPLING_RATE:.4g} s at once; fit with --window-seconds 10."
        )
    about = {
        "bundle_version": BUNDLE_VERSION,
        "hf_asd": __version__,
        "machine": machine,
        "embedding": detector.embedding_description,
        "model": {
            "file": MODEL,
            "opset": OPSET,
            "input": "waveform: float32 (clips, samples), 16 kHz, full scale at 1",
        },
        "outputs": {name: OUTPUTS[name] for name in graph.output_names},
        "sampling_rate": SAMPLING_RATE,
        "channel": channel,
        "threshold": bank.threshold,
        "unusual_threshold": bank.unusual_threshold,
        "false_alarm_rate": bank.false_alarm_rate,
        "promise": bank.promise,
        "recorded_at_hz": detector.training_summary.get(machine, {}).get("sampling_rates", []),
        "num_normal_clips": len(bank.normal_scores),
        "window_seconds": seconds,
        "max_seconds": longest / SAMPLING_RATE,
        "score_tail": {
            "scores": bank.tail.body_scores.tolist(),
            "logs": bank.tail.body_logs.tolist(),
            "start": bank.tail.start,
            "count": bank.tail.count,
            "scale": bank.tail.scale,
        },
        "no_decision_reasons": list(REASONS if graph.checks.ranges else REASONS[:3]),
        "left_out": list(LEFT_OUT),
    }
    if graph.deviations is not None:
        about["bands_hz"] = [
            [round(mel_hertz(MELS_APART * band + place + 0.5), 1) for place in (0, MELS_PER_BAND)]
            for band in range(NUM_BANDS)
        ]
    return about


def _with_int8_weights(model: bytes) -> bytes:
    """
    The weights of the transformer's layers in 8 bits; filter bank, statistics and scores stay as they are.

    One bit of these is not used: processors without VNNI would overflow where two products are added.
    """
    from tempfile import TemporaryDirectory

    import onnx
    from onnxruntime.quantization import quantize_dynamic

    chosen = nodes_of_layers(onnx.load_from_string(model))
    with TemporaryDirectory() as folder, export_is_quiet():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        quantize_dynamic(source, target, nodes_to_quantize=chosen, per_channel=True, reduce_range=True)
        return target.read_bytes()


def nodes_of_layers(model: Any) -> list[str]:
    """The matrix products of a transformer's layers in an `onnx.ModelProto`."""
    chosen = []
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
        if node.op_type == "MatMul" and ".layers." in scopes:
            chosen.append(node.name)
    return chosen


@contextmanager
def export_is_quiet() -> Iterator[None]:
    """Hides what the exporter says about its own inside."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
