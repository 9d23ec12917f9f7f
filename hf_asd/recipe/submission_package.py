"""From scored runs to the ZIP that is submitted to the challenge."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data.dcase.years import YEARS
from ..data.schema import read_table
from ..evaluation.submission import check_same_clips, evaluation_files, read_submission
from ..files import read_json, whole_file
from .meta_information import machines_of, meta_information, read_entries, system_label
from .scored_run import ScoredRun


MAX_SYSTEMS = 4
# Earlier years have several sections, whose numbers the table of years does not list.
PACKAGED_YEARS = [year for year, rules in YEARS.items() if rules.has_one_section]


def write_package(
    runs: Sequence[str | Path], entries_file: str | Path, report: str | Path, output: str | Path
) -> list[dict[str, Any]]:
    """
    Packs up to four systems as the challenge wants them: `task2/<label>/` with `<label>.meta.yaml` and the result
    files of the evaluation machines for each system, and the technical report beside them.

    Args:
        runs (`Sequence` of `str` or `Path`): the folder `score-*` of each system's run, all of one year.
        entries_file (`str` or `Path`): what only the author knows (see
            [`~hf_asd.recipe.meta_information.SubmissionEntries`]); `recipes/submission.yaml` is one to fill in.
        report (`str` or `Path`): the technical report, a PDF.
        output (`str` or `Path`): the ZIP; written whole or not at all.

    Returns:
        `list[dict]`: the meta information of each system, as it is in the ZIP.

    Raises:
        FileNotFoundError: a file or a run is missing.
        ValueError: something of a system is missing or contradictory; names the file and what is missing.
    """
    report = Path(report)
    if not 1 <= len(runs) <= MAX_SYSTEMS:
        raise ValueError(f"{len(runs)} systems are given; the challenge accepts 1 to {MAX_SYSTEMS}.")
    if len({Path(run).resolve() for run in runs}) < len(runs):
        raise ValueError("a run is given twice; each system needs a run of its own.")
    entries = read_entries(entries_file)
    if len(entries.systems) != len(runs):
        raise ValueError(
            f"{entries_file}: systems has {len(entries.systems)} entries for {len(runs)} runs; give one for each run, "
            "in their order."
        )
    if not report.is_file() or report.read_bytes()[:5] != b"%PDF-":
        raise ValueError(f"{report}: is not a PDF; the challenge wants the technical report with the systems.")
    found = [ScoredRun.read(run) for run in runs]
    years = sorted({str(run.data["year"]) for run in found})
    if len(years) > 1 or years[0] not in map(str, PACKAGED_YEARS):
        accepted = f"{min(PACKAGED_YEARS)} to {max(PACKAGED_YEARS)}"
        raise ValueError(f"the runs are of the year {', '.join(years)}; accepted is one year of {accepted}.")
    content: dict[str, bytes] = {}
    metas = []
    for number, run in enumerate(found, start=1):
        label = system_label(entries, number)
        files = _result_files(run)
        metas.append(meta_information(run, entries, number))
        text = yaml.safe_dump(metas[-1], sort_keys=False, allow_unicode=True)
        content[f"task2/{label}/{label}.meta.yaml"] = text.encode()
        content |= {f"task2/{label}/{file.name}": file.read_bytes() for file in files}
    content[f"task2/{system_label(entries, 1)}.technical_report.pdf"] = report.read_bytes()
    with whole_file(output) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in content.items():
            package.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # without times: equal if repeated
    return metas


def _result_files(run: ScoredRun) -> list[Path]:
    """The result files of the evaluation machines, with a row for each of their recordings."""
    year, folder = run.data["year"], run.folders["score"] / "submission"
    machines = machines_of(year, "eval")
    files = evaluation_files(folder, year, machines)
    skipped = [
        message
        for message in read_json(run.folders["data"] / "skipped.json")
        if any(f"/{machine}/test/" in message.replace("\\", "/") for machine in machines)
    ]
    if skipped:
        raise ValueError(
            f"{run.folders['data']}: {len(skipped)} evaluation recordings were left out, but the challenge wants a "
            f"score for each: {skipped[0]}"
        )
    scored = read_table(run.folders["score"] / "test.parquet").select_columns(["machine", "clip_id"]).to_list()
    wanted = {(row["machine"], row["clip_id"].rsplit("/", 1)[-1] + ".wav") for row in scored}
    submitted = read_submission(folder, year)
    rows = set(zip(submitted["machine"][:], submitted["file_name"][:], strict=True))
    check_same_clips(rows, wanted, f"{folder}", "the run's test recordings")
    return files
