"""The command `hf-asd embed`, and `fit` and `score` of very many recordings: results are parquet shards."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.folder_summary import count
from ..detection.config import DetectorConfig
from .detectors import add_machines, add_on_bad_audio, add_window_seconds, check_machines, print_skipped
from .exit_codes import ANOMALY, DONE, NO_DECISION
from .flags import add_flag, add_options, build_config, flag_names


if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..shards.reading import Part
    from ..shards.results import Plan


EMBEDDING_OPTIONS = (
    *("pooling", "pooling_parameter", "layer", "clamp_outlier_channels", "precision"),
    *("statistics", "with_statistics", "channel"),
)
SHOWN_MACHINES, SHOWN_SKIPPED = 20, 20
SKIPPED = ".skipped.txt"  # hidden, so that readers of the shards beside it leave it out
# Options of `fit` and `score` that are about a single detector, or about results that are not shards.
NOT_WITH_FIT = ("add", "forget", "keep_last", "session")
NOT_WITH_SCORE = ("csv", "json", "report", "start", "fdr", "speed", "bearing")


def add_commands(commands) -> None:
    """Adds the parser of this command."""
    command = commands.add_parser("embed", help="write embeddings of very many recordings as parquet shards")
    text = "folders of recordings, or of parquet shards with a column audio"
    command.add_argument("recordings", type=Path, nargs="+", help=text)
    add_flag(command, "--output", Path, "folder for part-*.parquet; finished ones are kept")
    add_flag(
        command,
        "--encoder",
        str | None,
        "Hub id or folder of a pretrained encoder, or bundled; none: spectral statistics alone",
        None,
    )
    add_flag(command, "--machine", str | None, "the machine of all recordings; none: as hf-asd fit names it", None)
    add_machines(command)
    text = (
        "recordings of at least twice this length in seconds are cut into windows of this length; auto, none: as in "
    )
    add_window_seconds(command, f"{text}hf-asd fit")
    add_on_bad_audio(command)
    add_options(command, DetectorConfig, only=EMBEDDING_OPTIONS)
    command.set_defaults(run=embed)


def add_separate(command: argparse.ArgumentParser) -> None:
    """Adds `--separate`."""
    text = "a detector for each machine, in a subfolder of --output, without report and probe; over several processes"
    add_flag(command, "--separate", bool, f"{text}; always for parquet shards", False)


def add_output(command: argparse.ArgumentParser) -> None:
    """Adds `--output` of `score`."""
    text = "write the decisions as parquet shards into this folder, over several processes; needed for parquet shards"
    add_flag(command, "--output", Path | None, f"{text}; none: print them", None)


def are_shards(paths: "Sequence[Path]") -> bool:
    """
    Whether these are parquet shards.

    Raises:
        ValueError: some of them are, others are not.
    """
    from ..shards.reading import holds_shards

    found = [holds_shards(path) for path in paths]
    if any(found) and not all(found):
        names = ", ".join(str(path) for path, is_shards in zip(paths, found, strict=True) if is_shards)
        raise ValueError(
            f"{names} holds parquet shards, the other folders do not; run the command once for each kind."
        )
    return any(found)


def embed(args: argparse.Namespace) -> None:
    """Writes embeddings as parquet shards."""
    from ..detection.detector import AnomalyDetector
    from ..distributed import partial_state
    from ..files import check_writable
    from ..shards.embedding import embed_parts

    config = build_config(args, DetectorConfig)
    check_machines(args)
    check_writable("--output", args.output, is_folder=True)
    with flag_names(DetectorConfig):
        detector = AnomalyDetector(args.encoder, config)
    parts, problems = _parts(args, args.recordings, by_machine=False)
    plan = embed_parts(
        parts,
        detector.encoder,
        args.output,
        channel=config.channel,
        on_bad_audio=args.on_bad_audio,
        window_seconds=args.window_seconds,
        all_of=args.machine,
    )
    if partial_state().is_main_process:
        counts, skipped = _summary(plan)
        _print_skipped([*problems, *skipped], args.output)
        total = sum(own["clips"] for own in counts.values())
        print(f"{count(total, 'embedding')} of {count(len(counts), 'machine')}: {args.output} ({_files(plan)})")


def fit_separately(args: argparse.Namespace, config: DetectorConfig) -> None:
    """Fits a detector to each machine."""
    from ..detection.detector import AnomalyDetector
    from ..distributed import partial_state
    from ..files import check_writable
    from ..shards.fitting import MACHINES_TABLE, fit_machines

    _check_unused(args, NOT_WITH_FIT, "with parquet shards or --separate")
    check_machines(args)
    check_writable("--output", args.output, is_folder=True)
    with flag_names(DetectorConfig):
        detector = AnomalyDetector(args.encoder, config)
    parts, problems = _parts(args, args.folder, by_machine=True, to_fit=True)
    lines = fit_machines(
        parts,
        detector,
        args.output,
        on_bad_audio=args.on_bad_audio,
        window_seconds=args.window_seconds,
        all_of=args.machine,
    )
    if partial_state().is_main_process:
        _print_skipped(problems, args.output)
        for line in lines[:SHOWN_MACHINES]:
            promise = f"{100 * line['false_alarm_rate']:.3g} % false alarms"
            print(f"{line['machine']}: {line['normal_recordings']} normal recordings, {promise}. {line['findings']}")
        if len(lines) > SHOWN_MACHINES:
            print(f"and {len(lines) - SHOWN_MACHINES} more")
        print(f"detectors: {args.output} ({len(lines)}, listed in {MACHINES_TABLE})")


def score_into_shards(args: argparse.Namespace) -> int:
    """Writes decisions as parquet shards."""
    from ..distributed import partial_state
    from ..files import check_writable
    from ..hub.transfer import resolve_detector
    from ..shards.scoring import Detectors, score_parts

    if args.output is None:
        raise ValueError(f"{args.recordings[0]} holds parquet shards; give --output, a folder for the decisions.")
    _check_unused(args, NOT_WITH_SCORE, "with --output, which writes parquet shards")
    check_machines(args)
    check_writable("--output", args.output, is_folder=True)
    folder = args.detector if Path(args.detector).is_dir() else resolve_detector(args.detector, args.revision)
    detectors = Detectors(folder, args.false_alarm_rate, args.precision)
    parts, problems = _parts(args, args.recordings, by_machine=True, detectors=list(detectors.folders))
    plan = score_parts(
        parts,
        detectors,
        args.output,
        explain=args.explain,
        on_bad_audio=args.on_bad_audio,
        window_seconds=args.window_seconds,
        all_of=args.machine,
    )
    counts, skipped = _summary(plan)
    skipped = [*problems, *skipped]
    anomalies, without = (sum(own.get(kind, 0) for own in counts.values()) for kind in ("anomalies", "without"))
    if partial_state().is_main_process:
        _print_skipped(skipped, args.output)
        _print_machines(counts)
        total = sum(sum(own.values()) for own in counts.values())
        text = f"{anomalies} of {total} recordings are anomalous"
        text += f", {without} without a decision" if without else ""
        print(f"{text}, {len(skipped)} skipped: {args.output} ({_files(plan)})")
    if not args.fail_on_anomaly or not (anomalies or without or skipped):
        return DONE
    return ANOMALY if anomalies else NO_DECISION


def _parts(
    args: argparse.Namespace,
    paths: "Sequence[Path]",
    *,
    by_machine: bool,
    to_fit: bool = False,
    detectors: "Sequence[str]" = (),
) -> "tuple[list[Part], list[str]]":
    """The units of work, and messages about what cannot be opened; found by the main process."""
    from ..distributed import broadcast, partial_state
    from ..shards.listing import list_recordings
    from ..shards.reading import find_parts, find_shards

    found = None
    if partial_state().is_main_process:
        problems: list[str] = []
        if are_shards(paths):
            if args.machines:
                raise ValueError("--machines is for folders of recordings; parquet shards have a column machine.")
            shards = find_shards(paths, to_fit=to_fit)
        else:
            machine = detectors[0] if len(detectors) == 1 and not args.machines else args.machine
            splits = ("train",) if to_fit else ("test",) if detectors else ("train", "test")
            shards, problems = list_recordings(
                paths,
                args.output,
                machines=args.machines,
                machine=machine,
                splits=splits,
                on_bad_audio=args.on_bad_audio,
            )
        found = find_parts(shards, by_machine=by_machine, all_of=args.machine, to_fit=to_fit), problems
        if not found[0]:
            raise ValueError(f"{paths[0]}: holds no {'normal ' * to_fit}recordings.")
    found = broadcast(found)
    assert found is not None  # the main process has found them
    return found


def _check_unused(args: argparse.Namespace, names: "Sequence[str]", when: str) -> None:
    for name in names:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is given, but it is not used {when}. Leave it out.")


def _summary(plan: "Plan") -> tuple[dict[str, dict[str, int]], list[str]]:
    """By machine numbers of rows, and what was skipped, of all results."""
    from ..shards.results import read_record

    counts: dict[str, dict[str, int]] = {}
    skipped: list[str] = []
    for file in plan.files:
        record = read_record(file)
        skipped += record.skipped
        for machine, own in record.counts.items():
            known = counts.setdefault(machine, {})
            for kind, number in own.items():
                known[kind] = known.get(kind, 0) + number
    return counts, skipped


def _print_skipped(skipped: list[str], output: Path) -> None:
    """The first recordings that were left out; all of them are listed in a file."""
    from ..files import write_text

    print_skipped(skipped[:SHOWN_SKIPPED])
    if len(skipped) > SHOWN_SKIPPED:
        file = write_text(output / SKIPPED, "\n".join([*skipped, ""]))
        print(f"and {len(skipped) - SHOWN_SKIPPED} more, all listed in {file}", file=sys.stderr)


def _print_machines(counts: dict[str, dict[str, int]]) -> None:
    """The machines with the largest share of anomalies first."""
    shares = {machine: own.get("anomalies", 0) / max(sum(own.values()), 1) for machine, own in counts.items()}
    machines = sorted(counts, key=lambda machine: (-shares[machine], machine))
    for machine in machines[:SHOWN_MACHINES]:
        found, total = counts[machine].get("anomalies", 0), sum(counts[machine].values())
        print(f"  {machine}: {found} of {total} anomalous ({100 * shares[machine]:.3g} %)")
    if len(machines) > SHOWN_MACHINES:
        print(f"  and {len(machines) - SHOWN_MACHINES} more machines with fewer")


def _files(plan: "Plan") -> str:
    before = len(plan.parts) - len(plan.unfinished)
    return count(len(plan.parts), "shard") + (f", {before} of them from before" if before else "")
