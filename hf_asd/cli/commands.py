"""What the commands of `hf-asd` do; their words are read in [`hf_asd.cli`]."""

import argparse
import csv
import io
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from ..hub.manifest import MANIFEST
from ..hub.transfer import resolve_detector


SCORE_COLUMNS = (
    "file",
    "machine",
    "anomaly_score",
    "z_score",
    "threshold",
    "p_value",
    "is_anomaly",
    "abstain_reason",
    "nearest_clip_id",
)


def fit(args: argparse.Namespace):
    """Learns own machines from a folder of normal recordings, or a recipe up to its detector."""
    if _ran_as_recipe(args):
        return
    if args.output is None:
        raise ValueError("--output is missing; give the folder that the detector is written to.")
    from ..audio.reading import drop_bad_audio
    from ..data.folder import load_folder
    from ..detection.detector import AnomalyDetector
    from ..distributed import hardware
    from ..embedding.embed import embed
    from ..evaluation.scores import format_table, labeled_subset
    from ..hub.model_card import embedding_in_words, record_compute, record_evaluation, render_model_card
    from ..models.bundled_encoder import BUNDLED_ENCODER, BUNDLED_MIN_CLIPS
    from ..reporting.report import write_report

    channel = args.channel
    found = load_folder(args.folder, machine=args.machine, on_bad_audio=None)
    if "train" not in found:
        raise ValueError(f"{args.folder}: holds anomalies or test recordings only; fit needs normal recordings.")
    dataset, skipped = drop_bad_audio(found, args.on_bad_audio, channel)
    fewest = min(Counter(dataset["train"]["machine"]).values())
    encoder, pooling, with_statistics = args.encoder, args.pooling, args.with_statistics
    if encoder is None and fewest >= BUNDLED_MIN_CLIPS:
        encoder, pooling, with_statistics = BUNDLED_ENCODER, "bands_std", True
    detector = AnomalyDetector.from_encoder(
        None if encoder == "none" else encoder,
        false_alarm_rate=args.false_alarm_rate,
        pooling=pooling,
        layer=args.layer,
        with_statistics=with_statistics,
        channel=channel,
        preset=args.preset,
        threshold_method=args.threshold_method,
    )
    started = time.monotonic()
    train = embed(dataset["train"], detector.encoder, channel=channel)
    detector.fit(train)
    folder = detector.save_pretrained(args.output)
    seconds = round(time.monotonic() - started, 1)
    record_compute(folder, {"fit": {"seconds": seconds, "device": hardware(), "resumed": False}})
    test, evaluation = None, None
    if "test" in dataset and len(dataset["test"]):
        test = detector.score(_as_known(dataset["test"], detector))
        labeled, year = labeled_subset(test)
        evaluation = record_evaluation(folder, labeled, year) if len(labeled) else None
    report = write_report(
        folder / "report.html",
        title=f"{', '.join(detector.machines)}: what is normal",
        train=train,
        test=test,
        evaluation=evaluation,
        skipped=skipped,
        threshold_by_machine={machine: bank.threshold for machine, bank in detector.machines.items()},
        profiles=detector.profiles,
        leave_one_out={machine: bank.leave_one_out_scores() for machine, bank in detector.machines.items()},
        facts={
            "Embedding": args.encoder if args.encoder not in (None, "none") else embedding_in_words(detector),
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
    if evaluation is not None:
        print(format_table(evaluation))
    elif test is not None and "anomaly" in test["condition"][:]:
        print(
            "how well the anomalies are told apart was not measured: that takes normal recordings in test/normal.",
            file=sys.stderr,
        )
    print(f"detector: {folder}\nreport:   {report}")


def score(args: argparse.Namespace) -> int:
    """Scores recordings with a fitted detector: one line a file."""
    from datasets import DatasetDict, concatenate_datasets

    from ..audio.reading import drop_bad_audio
    from ..data.folder import load_folder
    from ..detection.detector import AnomalyDetector

    detector = AnomalyDetector.from_pretrained(args.detector, revision=args.revision)
    splits = [
        rows
        for path in args.recordings
        for rows in load_folder(path, machine=args.machine, on_bad_audio=None).values()
    ]
    usable, skipped = drop_bad_audio(
        DatasetDict(new=concatenate_datasets(splits)), args.on_bad_audio, detector.config.channel, allow_silence=True
    )
    names = (*SCORE_COLUMNS, *(("reasons",) if args.explain else ()))
    lines = []
    if len(usable["new"]):
        scored = detector.score(usable["new"], check_input=True, explain=args.explain)
        for row in scored.remove_columns("embedding"):
            machine = row["machine"] if row["machine"] in detector.machines else next(iter(detector.machines))
            line = {"file": row["audio"]["path"], "threshold": detector.machines[machine].threshold, **row}
            lines.append({name: line[name] for name in names} | {"machine": machine})
    if args.json is not None:
        _write_whole(args.json, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    if args.csv is not None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(line | {"reasons": "; ".join(line["reasons"])} if args.explain else line for line in lines)
        _write_whole(args.csv, text.getvalue())
    width = max([len(line["file"]) for line in lines] + [4])
    print(f"{'file':<{width}}  {'score':>9}  {'threshold':>9}  {'p-value':>7}  decision")
    for line in lines:
        decision = {True: "ANOMALY", False: "normal", None: f"no decision, {line['abstain_reason']}"}[
            line["is_anomaly"]
        ]
        print(
            f"{line['file']:<{width}}  {line['anomaly_score']:9.4g}  {line['threshold']:9.4g}  "
            f"{line['p_value']:7.3f}  {decision}"
        )
        for reason in line["reasons"] if args.explain and line["abstain_reason"] is None else ():
            print(f"    {reason}")
        if args.explain and line["is_anomaly"] is False:
            print("    nothing out of the ordinary: the score is one that normal recordings reach")
        if args.explain and line["is_anomaly"]:
            print(f"    nearest normal recording: {line['nearest_clip_id']}")
    for message in skipped:
        print(f"skipped: {message}", file=sys.stderr)
    anomalies = sum(line["is_anomaly"] is True for line in lines)
    undecided = sum(line["is_anomaly"] is None for line in lines)
    told = f", {undecided} without a decision" if undecided else ""
    print(f"{anomalies} of {len(lines)} recordings are anomalous{told}, {len(skipped)} skipped")
    return 1 if anomalies and args.fail_on_anomaly else 0


def compact(args: argparse.Namespace):
    """Writes a detector with a smaller memory bank, and what that costs in score where labeled clips are given."""
    from ..data.schema import read_table
    from ..detection.compact import compact_folder
    from ..detection.detector import AnomalyDetector

    folder, test, year = resolve_detector(args.detector), None, args.year or 2025
    if args.test is not None and args.test.is_dir():
        test, allowed = _labeled_recordings(args.test, AnomalyDetector.from_pretrained(folder))
        year = args.year or allowed
    elif args.test is not None:
        test = read_table(args.test)
    told = compact_folder(
        folder, args.output, dtype=args.dtype, num_references=args.num_references, test=test, year=year
    )
    print(f"detector: {args.output}, memory bank {told['bytes'][0]} -> {told['bytes'][1]} bytes")
    if "official_score" in told:
        before, after = told["official_score"]
        print(f"official score {year}: {100 * before:.2f} -> {100 * after:.2f} %")


def push(args: argparse.Namespace):
    """Publishes a detector on the Hub."""
    from ..hub.model_card import push_detector

    options = {"license": args.license, "dataset": args.dataset, "revision": args.revision}
    print(f"detector: {push_detector(args.detector, args.repo, private=not args.public, **options)}")


def push_metric(args: argparse.Namespace):
    """Publishes the metrics as Spaces, for evaluate.load."""
    from ..hub.metric_spaces import push_metrics

    for repo_id in push_metrics(args.names or None, namespace=args.namespace, private=args.private):
        print(f'evaluate.load("{repo_id}")')


def monitor(args: argparse.Namespace) -> int:
    """Decides about a growing file, a folder or a pipe, one JSON object a window."""
    from ..detection.alarm import AlarmPolicy
    from ..detection.detector import AnomalyDetector
    from ..detection.monitoring import monitor as decide
    from ..detection.monitoring import print_lines

    detector = AnomalyDetector.from_pretrained(args.detector)
    policy = AlarmPolicy(args.raise_at, args.windows, args.clear_at, args.cool_down)
    options = (args.machine, args.window, args.wait, args.rate, args.channels, args.explain)
    return print_lines(decide(detector, args.source, policy, *options))


def _write_whole(path: Path, text: str):
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="")
    os.replace(partial, path)


def convert(args: argparse.Namespace):
    """Turns a checkpoint of the code that an encoder was published with into a folder that every command takes."""
    if args.model_type == "eat":
        from ..models.eat.convert_eat import convert_eat

        folder = convert_eat(args.checkpoint, args.output, ema=args.ema)
    else:
        if args.ema:
            raise ValueError("--ema is for EAT; a checkpoint of BEATs holds one set of weights.")
        from ..models.beats.convert_beats import convert_beats

        folder = convert_beats(args.checkpoint, args.output)
    print(f"encoder: {folder}")


def factory(args: argparse.Namespace):
    """Writes the simulated factory."""
    from ..recipe.loading import build, read_overrides
    from ..simulation.config import FactoryConfig
    from ..simulation.writer import write_factory

    config = build(FactoryConfig, dict(read_overrides(args.overrides)))
    print(write_factory(config, args.folder))


def download(args: argparse.Namespace):
    """Downloads a year of DCASE Task 2."""
    from ..data.dcase.download import download_dcase

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
    """Official scores of a folder of submission files or of a detector, or a recipe up to its evaluation."""
    if _ran_as_recipe(args):
        return
    if args.truth is None:
        raise ValueError("--truth is missing; give the folder of the ground truth.")
    from ..evaluation.scores import evaluate_submission, format_table

    if (args.folder / MANIFEST).is_file():
        result = _evaluate_detector(args)
    else:
        result = evaluate_submission(args.folder, args.truth, args.year or 2025, resamples=args.resamples)
    print(format_table(result))


def _evaluate_detector(args: argparse.Namespace) -> dict:
    from ..detection.detector import AnomalyDetector
    from ..hub.model_card import record_evaluation, render_model_card

    detector = AnomalyDetector.from_pretrained(args.folder)
    rows, year = _labeled_recordings(args.truth, detector)
    result = record_evaluation(args.folder, detector.score(rows), args.year or year, resamples=args.resamples)
    render_model_card(args.folder, detector)
    return result


def _labeled_recordings(folder: Path, detector):
    """The test recordings in a folder that something can be measured on, and the year whose score they allow."""
    from ..data.folder import load_folder
    from ..evaluation.scores import labeled_subset

    found = load_folder(folder, channel=detector.config.channel)
    rows, year = labeled_subset(_as_known(found["test"], detector)) if "test" in found else ([], None)
    if not len(rows):
        raise ValueError(
            f"{folder}: nothing can be measured; it takes normal and anomalous recordings of a machine, in "
            "test/normal and test/anomaly or told by metadata.csv. The detector must not have learned from them."
        )
    return rows, year


def _as_known(rows, detector):
    """A detector of one machine takes every recording for that one, whatever the recording's folder is called."""
    machines = [detector.known_machine(machine) for machine in rows["machine"]]
    return rows.remove_columns("machine").add_column("machine", machines)


def compare(args: argparse.Namespace):
    """Two systems on the same clips."""
    from ..evaluation.scores import compare_systems, format_comparison

    result = compare_systems(args.a, args.b, args.truth, args.year, resamples=args.resamples)
    print(format_comparison(result, str(args.a), str(args.b)))


def run(args: argparse.Namespace):
    """A recipe up to the stage that the command names."""
    _run_recipe(args.recipe, "report" if args.command == "run" else args.command, args.overrides)


def clusters(args: argparse.Namespace):
    """Writes a recipe's clusters as a table in which they can be named."""
    import shutil

    from ..recipe.loading import load_recipe
    from ..recipe.runner import run_recipe

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
    from ..distributed import partial_state
    from ..recipe.loading import load_recipe
    from ..recipe.runner import run_recipe, summary

    folders = run_recipe(load_recipe(path, overrides), last)
    if "evaluate" in folders and partial_state().is_main_process:
        print(f"\n{summary(folders)}")


def _ran_as_recipe(args: argparse.Namespace) -> bool:
    """Runs what was given up to the stage that the command names, if it is a recipe."""
    recipe, detector = args.folder / "recipe.yaml", args.folder / MANIFEST  # a detector keeps the recipe it is from
    if args.folder.suffix in (".yaml", ".yml") or (recipe.is_file() and not detector.is_file()):
        _run_recipe(args.folder, args.command, args.overrides)
        return True
    if args.overrides:
        raise ValueError(f"unknown options: {' '.join(args.overrides)}; see hf-asd {args.command} --help.")
    return False
