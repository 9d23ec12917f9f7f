"""Commands around the DCASE challenge and published encoders: download, evaluate, compare, submission, convert."""

import argparse
from pathlib import Path
from typing import Literal

from ..data.dcase.years import ACCEPTED_YEARS, DEFAULT_YEAR, YEAR_WITHOUT_DOMAINS, PartName
from .flags import add_flag, add_year, not_a_recipe


def add_commands(commands) -> None:
    """Adds the parsers of these commands."""
    command = commands.add_parser("download", help="download a year of DCASE Task 2 from Zenodo")
    command.add_argument("year", type=int, help=f"challenge year, {ACCEPTED_YEARS}")
    add_flag(command, "--output", Path, "folder to download to; gets a folder for the year", Path("data"))
    add_flag(command, "--parts", list[PartName] | None, "only these parts; none: all", None)
    add_flag(command, "--machines", list[str] | None, "only these machines; none: all", None)
    add_flag(command, "--num-workers", int, "archives downloaded at the same time", 4, at_least=1)
    add_flag(command, "--endpoint", str | None, "a mirror of Zenodo; none: ZENODO_ENDPOINT if set, else Zenodo", None)
    command.set_defaults(run=download)

    command = commands.add_parser("evaluate", help="official scores of submission files or of a detector")
    command.add_argument("folder", type=not_a_recipe("evaluate"), help="folder of submission files or of a detector")
    add_flag(
        command,
        "--truth",
        Path,
        "the ground truth: for submission files those of the organizers or a labeled tree, for a detector a "
        "folder of own recordings with test/normal and test/anomaly. The result for a detector is written to its "
        "folder and its card",
    )
    text = f"{DEFAULT_YEAR}, or for a detector {YEAR_WITHOUT_DOMAINS} if the recordings have no domains"
    add_year(command, if_none=text)
    _add_resamples(command)
    command.set_defaults(run=evaluate)

    command = commands.add_parser("compare", help="compare two folders of submission files by a paired bootstrap")
    command.add_argument("a", type=Path, help="submission files of the first system")
    command.add_argument("b", type=Path, help="submission files of the second system")
    add_flag(command, "--truth", Path, "the ground truth: the organizers' files or a labeled tree")
    add_year(command)
    _add_resamples(command)
    command.set_defaults(run=compare)

    command = commands.add_parser("submission", help="pack scored runs of a recipe as the challenge wants them (ZIP)")
    command.add_argument("runs", type=Path, nargs="+", help="folder score-* of the run of each system, up to four")
    add_flag(
        command,
        "--entries",
        Path,
        "a YAML file with what only you know: label, authors, names of the systems; recipes/submission.yaml is one to "
        "fill in",
    )
    add_flag(command, "--report", Path, "the technical report, a PDF")
    add_flag(command, "--output", Path, "the ZIP to write")
    command.set_defaults(run=submission)

    command = commands.add_parser("convert", help="convert a published checkpoint (.pt) of EAT or BEATs")
    command.add_argument("checkpoint", type=Path, help="the file")
    add_flag(command, "--output", Path, "folder for the encoder")
    add_flag(command, "--model-type", Literal["eat", "beats"], "which model the checkpoint is of")
    add_flag(command, "--ema", bool, "EAT: take the teacher's weights, not the student's", False)
    command.set_defaults(run=convert)


def _add_resamples(command: argparse.ArgumentParser) -> None:
    add_flag(
        command,
        "--resamples",
        int,
        "bootstrap resamples for the confidence interval; 0: no interval",
        1000,
        at_least=0,
    )


def download(args: argparse.Namespace) -> None:
    """Downloads a year of DCASE Task 2."""
    from ..data.dcase.download import download_dcase

    options = {"parts": args.parts, "machines": args.machines, "num_workers": args.num_workers}
    print(download_dcase(args.year, args.output, **options, endpoint=args.endpoint))


def evaluate(args: argparse.Namespace) -> None:
    """Official scores of a folder of submission files or of a detector."""
    from ..evaluation.scores import evaluate_submission, format_table
    from ..folders import finish_replacement
    from ..hub.manifest import DETECTOR_FOLDER, MANIFEST

    finish_replacement(args.folder, DETECTOR_FOLDER)  # the result is written beside the detector
    if (args.folder / MANIFEST).is_file():
        result = _evaluate_detector(args)
    else:
        result = evaluate_submission(args.folder, args.truth, args.year or DEFAULT_YEAR, resamples=args.resamples)
    print(format_table(result))


def _evaluate_detector(args: argparse.Namespace) -> dict:
    from ..detection.detector import AnomalyDetector
    from ..hub.model_card import record_evaluation, render_model_card
    from .labeled import labeled_recordings

    detector = AnomalyDetector.from_pretrained(args.folder)
    rows, year = labeled_recordings(args.truth, detector)
    scored = detector.score(rows, check_input=False)
    result = record_evaluation(args.folder, scored, args.year or year, resamples=args.resamples)
    render_model_card(args.folder)
    return result


def compare(args: argparse.Namespace) -> None:
    """Compares two systems on the same clips."""
    from ..evaluation.scores import compare_systems, format_comparison

    result = compare_systems(args.a, args.b, args.truth, args.year, resamples=args.resamples)
    print(format_comparison(result, str(args.a), str(args.b)))


def submission(args: argparse.Namespace) -> None:
    """Packs up to four systems with their meta information."""
    from ..files import check_writable

    check_writable("--output", args.output, is_folder=False)
    from ..recipe.submission_package import write_package

    metas = write_package(args.runs, args.entries, args.report, args.output)
    for folder, meta in zip(args.runs, metas, strict=True):
        # A pattern such as score-* gives runs in another order than they were made in.
        own, description = meta["submission"], meta["system"]["description"]
        made_of = ", ".join(filter(None, (description["embeddings"], description["aggregation_method"])))
        print(f"{own['label']}: {own['name']} ({made_of}), {folder}")
    print(f"submission: {args.output}")


def convert(args: argparse.Namespace) -> None:
    """Turns a published checkpoint into a folder that every command accepts as an encoder."""
    if args.model_type == "eat":
        from ..models.eat.convert_eat import convert_eat

        folder = convert_eat(args.checkpoint, args.output, ema=args.ema)
    else:
        if args.ema:
            raise ValueError("--ema is for EAT; a checkpoint of BEATs holds one set of weights.")
        from ..models.beats.convert_beats import convert_beats

        folder = convert_beats(args.checkpoint, args.output)
    print(f"encoder: {folder}")
