"""Commands that share detectors: push, push-metric, compact."""

import argparse
from pathlib import Path

from ..data.dcase.years import DEFAULT_YEAR, YEAR_WITHOUT_DOMAINS
from ..detection.config import DtypeName
from .flags import add_flag, add_year
from .results import check_detector_place


def add_commands(commands) -> None:
    """Adds the parsers of these commands."""
    command = commands.add_parser("compact", help="make a detector's memory bank smaller")
    command.add_argument("detector", help="folder of the detector, or its id on the Hub")
    add_flag(command, "--output", Path, "folder for the smaller detector")
    add_flag(command, "--dtype", DtypeName, "number format of the embeddings", "float32")
    add_flag(
        command,
        "--num-references",
        int | None,
        "maximum number of normal clips kept per machine and domain; none: all",
        None,
        at_least=1,
    )
    add_flag(
        command,
        "--test",
        Path | None,
        "scored test clips to measure what it costs: a recipe's score-*/test.parquet, or a folder of own recordings "
        "with test/normal and test/anomaly",
        None,
    )
    text = f"{DEFAULT_YEAR}, or {YEAR_WITHOUT_DOMAINS} for own recordings without domains; only with --test"
    add_year(command, if_none=text)
    command.set_defaults(run=compact)

    command = commands.add_parser("push", help="publish detectors on the Hub")
    command.add_argument("detectors", type=Path, nargs="+", metavar="detector", help="folder of the detector")
    command.add_argument(
        "repo",
        help="ORG/NAME; created if it does not exist. Several detectors go to ORG/NAME-FOLDER each, and into a "
        "collection NAME",
    )
    add_flag(
        command, "--collection", str | None, "title of a collection that they go into; none: only several do", None
    )
    add_flag(
        command, "--license", str | None, "license of the recordings it was fitted on, such as cc-by-nc-sa-4.0", None
    )
    add_flag(command, "--dataset", str | None, "id on the Hub of those recordings", None)
    add_flag(command, "--public", bool, "let everybody see the repository, not only you", False)
    add_flag(command, "--revision", str | None, "branch to push to; none: main", None)
    text = "also publish a Space of the same name, where the detector can be tried in the browser"
    add_flag(command, "--space", bool, text, False)
    command.set_defaults(run=push)

    command = commands.add_parser("push-metric", help="publish pauc and dcase_score as Spaces for evaluate.load")
    command.add_argument("names", nargs="*", metavar="NAME", help="pauc, dcase_score (default: both)")
    add_flag(command, "--namespace", str | None, "user or organization; none: you", None)
    add_flag(command, "--private", bool, "let only you see them", False)
    command.set_defaults(run=push_metric)


def compact(args: argparse.Namespace) -> None:
    """Writes a detector with a smaller memory bank, and measures the change in score where labeled clips are given."""
    if args.year is not None and args.test is None:
        raise ValueError(
            "--year is given, but it would not be used: it needs --test. Leave it out, or give test clips."
        )
    check_detector_place("--output", args.output)
    from ..data.schema import read_table
    from ..detection.compact import compact_folder
    from ..detection.detector import AnomalyDetector
    from ..hub.transfer import resolve_detector
    from .labeled import labeled_recordings

    folder, test, year = resolve_detector(args.detector), None, args.year or DEFAULT_YEAR
    if args.test is not None and args.test.is_dir():
        test, allowed = labeled_recordings(args.test, AnomalyDetector.from_pretrained(folder))
        year = args.year or allowed
    elif args.test is not None:
        test = read_table(args.test)
    result = compact_folder(
        folder, args.output, dtype=args.dtype, num_references=args.num_references, test=test, year=year
    )
    print(f"detector: {args.output}, memory bank {result['bytes'][0]} -> {result['bytes'][1]} bytes")
    if "official_score" in result:
        before, after = result["official_score"]
        print(f"official score {year}: {100 * before:.2f} -> {100 * after:.2f} %")


def push(args: argparse.Namespace) -> None:
    """Publishes detectors on the Hub."""
    from ..detection.publishing import push_detectors
    from ..hub.detector_space import push_space

    if args.space and args.revision is not None:
        raise ValueError("--revision names a branch of the detector; a Space runs its main branch. Leave out one.")
    options = {"license": args.license, "dataset": args.dataset, "revision": args.revision}
    pushed, collection = push_detectors(
        args.detectors, args.repo, collection=args.collection, private=not args.public, **options
    )
    for repo_id in pushed:
        print(f"detector: {repo_id}")
    for folder, repo_id in zip(args.detectors, pushed, strict=True) if args.space else ():
        print(f"space: {push_space(folder, repo_id, license=args.license, private=not args.public)}")
    if collection is not None:
        print(f"collection: {collection}")


def push_metric(args: argparse.Namespace) -> None:
    """Publishes the metrics as Spaces, for evaluate.load."""
    from ..hub.metric_spaces import push_metrics

    for repo_id in push_metrics(args.names or None, namespace=args.namespace, private=args.private):
        print(f'evaluate.load("{repo_id}")')
