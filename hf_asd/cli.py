"""The command `hf-asd`: own machines without any YAML (fit, score), and the stages of a recipe."""

import argparse
import csv
import os
import sys
from pathlib import Path

from transformers.utils.logging import disable_progress_bar


STAGES = {
    "run": "the whole chain of a recipe; only what changed is done again",
    "pretrain": "a recipe up to domain-adaptive pre-training",
    "embed": "a recipe up to the embeddings that clustering needs",
    "cluster": "a recipe up to pseudo-attributes",
    "finetune": "a recipe up to attribute classification",
    "report": "a recipe up to its HTML report and model card",
}
SCORE_COLUMNS = ("file", "machine", "anomaly_score", "threshold", "p_value", "is_anomaly", "nearest_clip_id")


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


def fit(args: argparse.Namespace):
    """Learns own machines from a folder of normal recordings, or a recipe up to its detector."""
    if _is_recipe(args.folder):
        return _run_recipe(args.folder, "fit", args.overrides)
    if args.overrides:
        raise ValueError(f"unknown options: {' '.join(args.overrides)}; see hf-asd fit --help.")
    if args.output is None:
        raise ValueError("--output is missing; give the folder that the detector is written to.")
    from .card import render_model_card
    from .data.audio import drop_bad_audio
    from .data.folder import load_folder
    from .detection import AnomalyDetector
    from .embedding import embed
    from .report import write_report

    channel = _channel(args.channel)
    found = load_folder(args.folder, machine=args.machine, on_bad_audio=None)
    if "train" not in found:
        raise ValueError(f"{args.folder}: holds anomalies or test recordings only; fit needs normal recordings.")
    dataset, skipped = drop_bad_audio(found, args.on_bad_audio, channel)
    detector = AnomalyDetector.from_encoder(
        args.encoder,
        false_alarm_rate=args.false_alarm_rate,
        pooling=args.pooling,
        layer=args.layer,
        channel=channel,
    )
    train = embed(dataset["train"], detector.encoder, channel=channel)
    detector.fit(train)
    folder = detector.save_pretrained(args.output)
    test = detector.score(dataset["test"]) if "test" in dataset and len(dataset["test"]) else None
    report = write_report(
        folder / "report.html",
        title=f"{', '.join(detector.machines)}: what is normal",
        train=train,
        test=test,
        skipped=skipped,
        threshold_by_machine={machine: bank.threshold for machine, bank in detector.machines.items()},
        leave_one_out={machine: bank.left_out() for machine, bank in detector.machines.items()},
        facts={
            "Embedding": "spectral statistics" if args.encoder is None else args.encoder,
            **{
                f"Threshold of {machine}": f"{bank.threshold:.4g}, for at most {100 * bank.false_alarm_rate:.3g} % "
                "false alarms among recordings made like these"
                for machine, bank in detector.machines.items()
            },
        },
        channel=channel,
    )
    render_model_card(folder, detector)
    for message in skipped:
        print(f"skipped: {message}", file=sys.stderr)
    for machine, bank in detector.machines.items():
        print(
            f"{machine}: {len(bank.normal_scores)} normal recordings, threshold {bank.threshold:.4g} for at most "
            f"{100 * bank.false_alarm_rate:.3g} % false alarms"
        )
        if bank.false_alarm_rate > args.false_alarm_rate:
            print(
                f"  {100 * args.false_alarm_rate:.3g} % were asked for; that takes "
                f"{round(1 / args.false_alarm_rate)} normal recordings or more.",
                file=sys.stderr,
            )
    print(f"detector: {folder}\nreport:   {report}")


def score(args: argparse.Namespace) -> int:
    """Scores recordings with a fitted detector: one line a file."""
    from datasets import DatasetDict, concatenate_datasets

    from .data.audio import drop_bad_audio
    from .data.folder import load_folder
    from .detection import AnomalyDetector

    detector = AnomalyDetector.from_pretrained(args.detector, revision=args.revision)
    splits = [
        rows
        for path in args.recordings
        for rows in load_folder(path, machine=args.machine, on_bad_audio=None).values()
    ]
    usable, skipped = drop_bad_audio(
        DatasetDict(new=concatenate_datasets(splits)), args.on_bad_audio, detector.config.channel
    )
    lines = []
    if len(usable["new"]):
        for row in detector.score(usable["new"]).remove_columns("embedding"):
            machine = row["machine"] if row["machine"] in detector.machines else next(iter(detector.machines))
            line = {"file": row["audio"]["path"], "threshold": detector.machines[machine].threshold, **row}
            lines.append({name: line[name] for name in SCORE_COLUMNS} | {"machine": machine})
    if args.csv is not None:
        partial = args.csv.with_name(args.csv.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, SCORE_COLUMNS)
            writer.writeheader()
            writer.writerows(lines)
        os.replace(partial, args.csv)
    width = max([len(line["file"]) for line in lines] + [4])
    print(f"{'file':<{width}}  {'score':>9}  {'threshold':>9}  {'p-value':>7}  decision")
    for line in lines:
        decision = "ANOMALY" if line["is_anomaly"] else "normal"
        print(
            f"{line['file']:<{width}}  {line['anomaly_score']:9.4g}  {line['threshold']:9.4g}  "
            f"{line['p_value']:7.3f}  {decision}"
        )
    for message in skipped:
        print(f"skipped: {message}", file=sys.stderr)
    anomalies = sum(line["is_anomaly"] for line in lines)
    print(f"{anomalies} of {len(lines)} recordings are anomalous, {len(skipped)} skipped")
    return 1 if anomalies and args.fail_on_anomaly else 0


def compact(args: argparse.Namespace):
    """Writes a detector with a smaller memory bank, and what that costs in score where labelled clips are given."""
    from .data.schema import read_table
    from .detection.compact import compact_folder

    test = None if args.test is None else read_table(args.test)
    told = compact_folder(
        args.detector, args.output, dtype=args.dtype, num_references=args.num_references, test=test, year=args.year
    )
    print(f"detector: {args.output}, memory bank {told['bytes'][0]} -> {told['bytes'][1]} bytes")
    if "official_score" in told:
        before, after = told["official_score"]
        print(f"official score {args.year}: {100 * before:.2f} -> {100 * after:.2f} %")


def push(args: argparse.Namespace):
    """Publishes a detector on the Hub."""
    from .card import push_detector

    options = {"license": args.license, "dataset": args.dataset, "revision": args.revision}
    print(f"detector: {push_detector(args.detector, args.repo, private=not args.public, **options)}")


def push_metric(args: argparse.Namespace):
    """Publishes the metrics as Spaces, for evaluate.load."""
    from .metrics.publish import push_metrics

    for repo_id in push_metrics(args.names or None, namespace=args.namespace, private=args.private):
        print(f'evaluate.load("{repo_id}")')


def convert(args: argparse.Namespace):
    """Turns a checkpoint of the code that an encoder was published with into a folder that every command takes."""
    if args.model_type == "eat":
        from .models.eat.convert_eat import convert_eat

        folder = convert_eat(args.checkpoint, args.output, ema=args.ema)
    else:
        if args.ema:
            raise ValueError("--ema is for EAT; a checkpoint of BEATs holds one set of weights.")
        from .models.beats.convert_beats import convert_beats

        folder = convert_beats(args.checkpoint, args.output)
    print(f"encoder: {folder}")


def factory(args: argparse.Namespace):
    """Writes the simulated factory."""
    from .data.factory import FactoryConfig, write_factory
    from .recipe import build, read_overrides

    config = build(FactoryConfig, dict(read_overrides(args.overrides)))
    print(write_factory(config, args.folder))


def download(args: argparse.Namespace):
    """Downloads a year of DCASE Task 2."""
    from .data.download import download_dcase

    print(
        download_dcase(
            args.name,
            args.dir,
            parts=args.parts,
            machines=args.machines,
            num_workers=args.num_workers,
            endpoint=args.endpoint,
        )
    )


def evaluate(args: argparse.Namespace):
    """Official scores of a folder of submission files, or a recipe up to its evaluation."""
    if _is_recipe(args.folder):
        return _run_recipe(args.folder, "evaluate", args.overrides)
    if args.overrides:
        raise ValueError(f"unknown options: {' '.join(args.overrides)}; see hf-asd evaluate --help.")
    if args.truth is None:
        raise ValueError("--truth is missing; give the folder of the ground truth.")
    from .evaluation import evaluate_submission, format_table

    print(format_table(evaluate_submission(args.folder, args.truth, args.year, resamples=args.resamples)))


def compare(args: argparse.Namespace):
    """Two systems on the same clips."""
    from .evaluation import compare_systems, format_comparison

    result = compare_systems(args.a, args.b, args.truth, args.year, resamples=args.resamples)
    print(format_comparison(result, str(args.a), str(args.b)))


def run(args: argparse.Namespace):
    """A recipe up to the stage that the command names."""
    _run_recipe(args.recipe, "report" if args.command == "run" else args.command, args.overrides)


def clusters(args: argparse.Namespace):
    """Writes a recipe's clusters as a table in which they can be named."""
    import shutil

    from .chain import run_recipe
    from .recipe import load_recipe

    recipe = load_recipe(args.recipe, args.overrides)
    if recipe.cluster.names_file is not None:
        raise ValueError(f"cluster.names_file is {recipe.cluster.names_file}, so clusters have names; edit that file.")
    if args.csv.exists():
        raise ValueError(f"{args.csv}: is there already, perhaps with names; give another --csv, or remove it.")
    folders = run_recipe(recipe, "cluster")
    args.csv.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folders["cluster"] / "clusters.csv", args.csv)
    print(
        f"{args.csv}: listen to the clips of a cluster, edit its name (equal names merge clusters), and go on with "
        f"--cluster.names_file {args.csv}"
    )


def _run_recipe(path: Path, last: str, overrides: list[str]):
    from .chain import run_recipe, summary
    from .distributed import processes
    from .recipe import load_recipe

    folders = run_recipe(load_recipe(path, overrides), last)
    if "evaluate" in folders and processes().is_main_process:
        print(f"\n{summary(folders)}")


def _is_recipe(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file()


def _channel(text: str) -> int | str:
    return int(text) if text.isdigit() else text


class _RecipeHelp(argparse.Action):
    """Prints a stage's help with every option of a recipe behind it."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, help="show this help, with every option of a recipe")

    def __call__(self, parser, namespace, values, option_string=None):
        from .recipe import options_help

        print(f"{parser.format_help()}\nOptions of a recipe:\n{options_help()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hf-asd", description="Anomalous sound detection.")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(takes_overrides=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("fit", help="learn an own machine from a folder of normal recordings")
    command.add_argument("folder", type=Path, help="folder of normal recordings (WAV, FLAC), or a recipe")
    command.add_argument("--output", type=Path, help="folder for the detector, its card and a report")
    command.add_argument(
        "--encoder", help="id on the Hub or folder of a pretrained encoder; without it spectral statistics are used"
    )
    command.add_argument("--pooling", default="mean", help="of an encoder's tokens: mean, cls, bands (default: mean)")
    command.add_argument(
        "--layer", type=int, help="an encoder's block to look at, from 1 or back from -1 (default: the last output)"
    )
    command.add_argument("--machine", help="name of the machine (default: the folder's name)")
    command.add_argument("--channel", default="0", help="channel of several, from 0, or 'mean' (default: 0)")
    command.add_argument(
        "--false-alarm-rate", type=float, default=0.05, help="accepted share of false alarms (default: 0.05)"
    )
    _add_on_bad_audio(command)
    command.set_defaults(run=fit, takes_overrides=True)

    command = commands.add_parser("score", help="score recordings with a detector")
    command.add_argument("detector", help="folder that `hf-asd fit --output` wrote, or a detector's id on the Hub")
    command.add_argument("--revision", help="branch, tag or commit on the Hub")
    command.add_argument("recordings", type=Path, nargs="+", help="recordings or folders of them")
    command.add_argument("--csv", type=Path, help="also write the result to this file")
    command.add_argument("--machine", help="which machine the recordings are of, when the detector knows several")
    command.add_argument("--fail-on-anomaly", action="store_true", help="exit with 1 when an anomaly is found")
    _add_on_bad_audio(command)
    command.set_defaults(run=score)

    for name, text in STAGES.items():
        command = commands.add_parser(name, help=text, add_help=False)
        command.add_argument("-h", "--help", action=_RecipeHelp)
        command.add_argument("recipe", type=Path, help="folder with a recipe.yaml, or a YAML file")
        command.set_defaults(run=run, takes_overrides=True)

    command = commands.add_parser("compact", help="make a detector's memory bank smaller")
    command.add_argument("detector", type=Path, help="folder of the detector")
    command.add_argument("--output", type=Path, required=True, help="folder for the smaller one")
    command.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the embeddings")
    command.add_argument(
        "--num-references", type=int, help="most normal clips kept a machine and domain (default: all)"
    )
    command.add_argument("--test", type=Path, help="a recipe's score-*/test.parquet, to measure what it costs")
    command.add_argument("--year", type=int, default=2025, help="whose official score is measured (default: 2025)")
    command.set_defaults(run=compact)

    command = commands.add_parser("push", help="publish a detector on the Hub")
    command.add_argument("detector", type=Path, help="folder of the detector")
    command.add_argument("repo", help="ORG/NAME; made where it is not there")
    command.add_argument("--license", help="of the recordings it was fitted on, such as cc-by-nc-sa-4.0")
    command.add_argument("--dataset", help="id on the Hub of those recordings")
    command.add_argument("--public", action="store_true", help="let everybody see it (default: only you)")
    command.add_argument("--revision", help="branch to push to (default: main)")
    command.set_defaults(run=push)

    command = commands.add_parser("push-metric", help="publish pauc and dcase_score as Spaces for evaluate.load")
    command.add_argument("names", nargs="*", metavar="NAME", help="pauc, dcase_score (default: both)")
    command.add_argument("--namespace", help="user or organisation (default: you)")
    command.add_argument("--private", action="store_true", help="let only you see them")
    command.set_defaults(run=push_metric)

    command = commands.add_parser(
        "clusters", help="write a recipe's clusters as a CSV in which they can be named", add_help=False
    )
    command.add_argument("-h", "--help", action=_RecipeHelp)
    command.add_argument("recipe", type=Path, help="folder with a recipe.yaml, or a YAML file")
    command.add_argument("--csv", type=Path, required=True, help="the file; read back by --cluster.names_file")
    command.set_defaults(run=clusters, takes_overrides=True)

    command = commands.add_parser("convert", help="convert a published checkpoint (.pt) of EAT or BEATs")
    command.add_argument("checkpoint", type=Path, help="the file")
    command.add_argument("--output", type=Path, required=True, help="folder for the encoder")
    command.add_argument("--model-type", choices=("eat", "beats"), required=True, help="what it is a checkpoint of")
    command.add_argument("--ema", action="store_true", help="EAT: take the teacher's weights instead of the student's")
    command.set_defaults(run=convert)

    command = commands.add_parser("factory", help="write the simulated factory; --OPTION VALUE as in a recipe")
    command.add_argument("folder", type=Path, help="where it is written")
    command.set_defaults(run=factory, takes_overrides=True)

    command = commands.add_parser("download", help="download a year of DCASE Task 2 from Zenodo")
    command.add_argument("name", help="dcase2020 to dcase2026")
    command.add_argument("--dir", type=Path, default=Path("data"), help="where to (default: data)")
    command.add_argument("--parts", nargs="+", help="of dev, train, eval (default: all)")
    command.add_argument("--machines", nargs="+", help="only these (default: all)")
    command.add_argument("--num-workers", type=int, default=4, help="archives at a time (default: 4)")
    command.add_argument("--endpoint", help="a mirror of Zenodo (default: ZENODO_ENDPOINT, else Zenodo)")
    command.set_defaults(run=download)

    command = commands.add_parser("evaluate", help="official scores of submission files, or of a recipe")
    command.add_argument("folder", type=Path, help="folder of submission files, or a recipe")
    command.add_argument("--truth", type=Path, help="ground truth: the organisers' files or a labelled tree")
    _add_scoring(command)
    command.set_defaults(run=evaluate, takes_overrides=True)

    command = commands.add_parser("compare", help="compare two folders of submission files by a paired bootstrap")
    command.add_argument("a", type=Path, help="first system")
    command.add_argument("b", type=Path, help="second system")
    command.add_argument("--truth", type=Path, required=True, help="ground truth: the organisers' files or a tree")
    _add_scoring(command)
    command.set_defaults(run=compare)
    return parser


def _add_on_bad_audio(command: argparse.ArgumentParser):
    command.add_argument(
        "--on-bad-audio", choices=("error", "skip"), default="error", help="unusable recordings (default: error)"
    )


def _add_scoring(command: argparse.ArgumentParser):
    command.add_argument("--year", type=int, default=2025, help="whose official score, 2020 to 2026 (default: 2025)")
    command.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (default: 1000)")
