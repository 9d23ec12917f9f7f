"""The command `hf-asd`: own machines without any YAML (fit, score), and the stages of a recipe."""

import argparse
import sys
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from . import commands


STAGES = {
    "run": "the whole chain of a recipe; only what changed is done again",
    "pretrain": "a recipe up to domain-adaptive pre-training",
    "embed": "a recipe up to the embeddings that clustering needs",
    "cluster": "a recipe up to pseudo-attributes",
    "finetune": "a recipe up to attribute classification",
    "report": "a recipe up to its HTML report and model card",
}
CHANNEL_HELP = "channel of several, from 0, 'mean', 'near-minus-far' or 'spectral-subtraction' (default: 0)"


def main(arguments: list[str] | None = None) -> int:
    """
    Runs one command.

    Args:
        arguments (`list[str]`, *optional*): the words behind `hf-asd`; defaults to those of the process.

    Returns:
        `int`, the exit code: 0 done (also where anomalies are found), 1 anomalies found with `--fail-on-anomaly`,
        2 bad input.
    """
    args, overrides = _parser().parse_known_args(arguments)
    if overrides and not args.takes_overrides:
        _parser().error(f"unknown options: {' '.join(overrides)}; see hf-asd {args.command} --help")
    args.overrides = overrides
    disable_progress_bar()  # of transformers' loading and saving; the stages show their own
    if args.traceback:
        return args.run(args) or 0
    try:
        return args.run(args) or 0
    except (ValueError, OSError) as error:
        print(f"hf-asd {args.command}: {error}", file=sys.stderr)
        return 2


def _number_or_word(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


class _RecipeHelp(argparse.Action):
    """Prints a stage's help with every option of a recipe behind it."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, help="show this help, with every option of a recipe")

    def __call__(self, parser, namespace, values, option_string=None):
        from ..recipe.loading import options_help

        print(f"{parser.format_help()}\nOptions of a recipe:\n{options_help()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hf-asd", description="Anomalous sound detection.")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(takes_overrides=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = subparsers.add_parser("fit", help="learn an own machine from a folder of normal recordings")
    command.add_argument("folder", type=Path, help="folder of normal recordings (WAV, FLAC), or a recipe")
    command.epilog = "Test recordings in test/normal and test/anomaly are scored; the card and push tell the result."
    command.add_argument("--output", type=Path, help="folder for the detector, its card and a report")
    command.add_argument(
        "--encoder",
        help="id on the Hub or folder of a pretrained encoder, or 'none' for spectral statistics alone (default: with "
        "30 normal recordings or more a small encoder that comes with the package, beside spectral statistics)",
    )
    command.add_argument(
        "--preset", default="standard", help="how recordings are compared: fast, standard, max (default: standard)"
    )
    command.add_argument(
        "--pooling",
        default="mean",
        help="of an encoder's tokens: mean, cls, bands, bands_std, gem, rdp, rdp_gem (default: mean)",
    )
    command.add_argument(
        "--with-statistics", action="store_true", help="spectral statistics beside the encoder, z-scores averaged"
    )
    command.add_argument(
        "--layer",
        type=_number_or_word,
        help="an encoder's block, from 1 or back from -1, or 'mean' of all (default: the last output)",
    )
    command.add_argument("--machine", help="name of the machine (default: the folder's name)")
    command.add_argument("--channel", type=_number_or_word, default="0", help=CHANNEL_HELP)
    command.add_argument(
        "--false-alarm-rate", type=float, default=0.05, help="accepted share of false alarms (default: 0.05)"
    )
    command.add_argument(
        "--threshold-method",
        default="conformal",
        help="conformal, quantile, or gamma for rates that few recordings cannot promise (default: conformal)",
    )
    _add_on_bad_audio(command)
    command.set_defaults(run=commands.fit, takes_overrides=True)

    command = subparsers.add_parser("score", help="score recordings with a detector")
    command.add_argument("detector", help="folder that `hf-asd fit --output` wrote, or a detector's id on the Hub")
    command.add_argument("--revision", help="branch, tag or commit on the Hub")
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of them")
    command.add_argument("--csv", type=Path, help="also write the result to this file")
    command.add_argument("--json", type=Path, help="also write the result to this file, one JSON object a line")
    command.add_argument(
        "--explain", action="store_true", help="say what is unusual about each recording that raises the alarm"
    )
    command.add_argument("--machine", help="which machine the recordings are of, when the detector knows several")
    command.add_argument("--fail-on-anomaly", action="store_true", help="exit with 1 when an anomaly is found")
    _add_on_bad_audio(command)
    command.set_defaults(run=commands.score)

    command = subparsers.add_parser("monitor", help="decide about a growing file, folder or pipe, window by window")
    command.add_argument("detector", help="folder that `hf-asd fit --output` wrote, or a detector's id on the Hub")
    command.add_argument("source", help="a recording, a folder, or - for raw PCM (16 bit, little endian) from a pipe")
    command.add_argument("--machine", help="which machine it is, when the detector knows several")
    command.add_argument("--window", type=float, default=10.0, help="seconds a decision (default: 10)")
    command.add_argument(
        "--wait", type=float, default=0.0, help="seconds to wait for more; inf never ends (default: 0)"
    )
    command.add_argument("--rate", type=int, default=16_000, help="of a pipe, in Hz (default: 16000)")
    command.add_argument("--channels", type=int, default=1, help="of a pipe (default: 1)")
    command.add_argument("--explain", action="store_true", help="say what is unusual about each anomalous window")
    command.add_argument("--raise-at", type=int, default=3, help="anomalous windows that raise an alarm (default: 3)")
    command.add_argument("--windows", type=int, default=5, help="of so many last windows (default: 5)")
    command.add_argument("--clear-at", type=int, default=0, help="or fewer of them end it (default: 0)")
    command.add_argument("--cool-down", type=int, default=0, help="windows without another alarm (default: 0)")
    command.set_defaults(run=commands.monitor)

    for name, text in STAGES.items():
        command = subparsers.add_parser(name, help=text, add_help=False)
        command.add_argument("-h", "--help", action=_RecipeHelp)
        command.add_argument("recipe", type=Path, help="folder with a recipe.yaml, or a YAML file")
        command.set_defaults(run=commands.run, takes_overrides=True)

    command = subparsers.add_parser("compact", help="make a detector's memory bank smaller")
    command.add_argument("detector", type=Path, help="folder of the detector, or its id on the Hub")
    command.add_argument("--output", type=Path, required=True, help="folder for the smaller one")
    command.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the embeddings")
    command.add_argument(
        "--num-references", type=int, help="most normal clips kept a machine and domain (default: all)"
    )
    command.add_argument(
        "--test",
        type=Path,
        help="to measure what it costs: a recipe's score-*/test.parquet, or a folder of own recordings with "
        "test/normal and test/anomaly",
    )
    command.add_argument(
        "--year",
        type=int,
        help="whose official score is measured (default: 2025; for own recordings whose domains are not known, 2020)",
    )
    command.set_defaults(run=commands.compact)

    command = subparsers.add_parser("push", help="publish a detector on the Hub")
    command.add_argument("detector", type=Path, help="folder of the detector")
    command.add_argument("repo", help="ORG/NAME; made where it is not there")
    command.add_argument("--license", help="of the recordings it was fitted on, such as cc-by-nc-sa-4.0")
    command.add_argument("--dataset", help="id on the Hub of those recordings")
    command.add_argument("--public", action="store_true", help="let everybody see it (default: only you)")
    command.add_argument("--revision", help="branch to push to (default: main)")
    command.set_defaults(run=commands.push)

    command = subparsers.add_parser("push-metric", help="publish pauc and dcase_score as Spaces for evaluate.load")
    command.add_argument("names", nargs="*", metavar="NAME", help="pauc, dcase_score (default: both)")
    command.add_argument("--namespace", help="user or organization (default: you)")
    command.add_argument("--private", action="store_true", help="let only you see them")
    command.set_defaults(run=commands.push_metric)

    command = subparsers.add_parser(
        "clusters", help="write a recipe's clusters as a CSV in which they can be named", add_help=False
    )
    command.add_argument("-h", "--help", action=_RecipeHelp)
    command.add_argument("recipe", type=Path, help="folder with a recipe.yaml, or a YAML file")
    command.add_argument("--csv", type=Path, required=True, help="the file; read back by --cluster.names_file")
    command.set_defaults(run=commands.clusters, takes_overrides=True)

    command = subparsers.add_parser("convert", help="convert a published checkpoint (.pt) of EAT or BEATs")
    command.add_argument("checkpoint", type=Path, help="the file")
    command.add_argument("--output", type=Path, required=True, help="folder for the encoder")
    command.add_argument("--model-type", choices=("eat", "beats"), required=True, help="what it is a checkpoint of")
    command.add_argument("--ema", action="store_true", help="EAT: take the teacher's weights instead of the student's")
    command.set_defaults(run=commands.convert)

    command = subparsers.add_parser("factory", help="write the simulated factory; --OPTION VALUE as in a recipe")
    command.add_argument("folder", type=Path, help="where it is written")
    command.set_defaults(run=commands.factory, takes_overrides=True)

    command = subparsers.add_parser("download", help="download a year of DCASE Task 2 from Zenodo")
    command.add_argument("name", help="dcase2020 to dcase2026")
    command.add_argument("--dir", type=Path, default=Path("data"), help="where to (default: data)")
    command.add_argument("--parts", nargs="+", help="of dev, train, eval (default: all)")
    command.add_argument("--machines", nargs="+", help="only these (default: all)")
    command.add_argument("--num-workers", type=int, default=4, help="archives at a time (default: 4)")
    command.add_argument("--endpoint", help="a mirror of Zenodo (default: ZENODO_ENDPOINT, else Zenodo)")
    command.set_defaults(run=commands.download)

    command = subparsers.add_parser("evaluate", help="official scores of submission files, a detector, or a recipe")
    command.add_argument("folder", type=Path, help="folder of submission files or of a detector, or a recipe")
    command.add_argument(
        "--truth",
        type=Path,
        help="ground truth: the organizers' files or a labeled tree; for a detector, a folder of own recordings with "
        "test/normal and test/anomaly: what is measured is put into the detector's folder and its card",
    )
    _add_scoring(command)
    # For a detector: what the recordings allow, 2025 where their domains are known, else 2020.
    command.set_defaults(run=commands.evaluate, takes_overrides=True, year=None)

    command = subparsers.add_parser("compare", help="compare two folders of submission files by a paired bootstrap")
    command.add_argument("a", type=Path, help="first system")
    command.add_argument("b", type=Path, help="second system")
    command.add_argument("--truth", type=Path, required=True, help="ground truth: the organizers' files or a tree")
    _add_scoring(command)
    command.set_defaults(run=commands.compare)
    return parser


def _add_on_bad_audio(command: argparse.ArgumentParser):
    command.add_argument(
        "--on-bad-audio", choices=("error", "skip"), default="error", help="unusable recordings (default: error)"
    )


def _add_scoring(command: argparse.ArgumentParser):
    command.add_argument("--year", type=int, default=2025, help="whose official score, 2020 to 2026 (default: 2025)")
    command.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (default: 1000)")
