"""The command `hf-asd export`: a detector as one file for machines without torch."""

import argparse
from pathlib import Path

from ..export.config import Precision
from ..files import check_writable
from .detectors import add_detector, load_detector
from .flags import add_flag


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser(
        "export", help="write a detector as one ONNX file, to run without torch (docs/edge.md)"
    )
    add_detector(command)
    add_flag(command, "--output", Path, "folder for detector.onnx, detector.json and score.py")
    text = "number format of the encoder's weights; int8 changes scores a little (docs/edge.md has figures)"
    add_flag(command, "--precision", Precision, text, "fp32")
    command.set_defaults(run=export)


def export(args: argparse.Namespace) -> None:
    """Writes a bundle and says how to use it."""
    check_writable("--output", args.output, is_folder=True)
    from ..export.bundle_folder import BUNDLE_FOLDER, export_bundle
    from ..folders import check_replaceable

    check_replaceable(args.output, BUNDLE_FOLDER)
    detector = load_detector(args)
    if args.machine is None and len(detector.machines) > 1:
        raise ValueError(
            f"the detector knows {', '.join(detector.machines)}; a bundle is for one machine, so choose one with "
            "--machine."
        )
    about = export_bundle(detector, args.output, args.machine, args.precision)
    model, difference = about["model"], about["model"]["largest_relative_difference"]
    print(f"bundle: {args.output}, {model['bytes'] / 1e6:.1f} MB, {model['precision']}, ONNX opset {model['opset']}")
    print(f"test:   its scores of noise differ from the detector's by {difference:.0e}, relative")
    print(f"to run: pip install numpy soundfile onnxruntime && python {args.output / 'score.py'} RECORDING.wav")
