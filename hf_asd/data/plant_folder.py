"""A folder of many machines: the first subfolder of each recording names its machine, whatever it is called."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from datasets import DatasetDict, concatenate_datasets

from ..audio.reading import OnBadAudio
from .folder import FolderContent, read_folder
from .folder_summary import FolderSummary
from .listing import printable
from .system_files import is_system_name


def read_plant(
    paths: Sequence[str | Path],
    *,
    on_bad_audio: OnBadAudio = "error",
    to_score: bool = False,
    session: str | None = None,
) -> FolderContent:
    """
    Reads the recordings of many machines.

    Args:
        paths (`Sequence[str]`): folders with a subfolder for each machine.
        on_bad_audio, to_score, session: as for [`~hf_asd.data.folder.read_folder`], which reads each subfolder.

    Returns:
        [`~hf_asd.data.folder.FolderContent`].

    Raises:
        ValueError: a folder has no subfolders, or two subfolders have one name.
    """
    contents = [
        read_folder(folder, name, on_bad_audio=on_bad_audio, to_score=to_score, session=session)
        for folder, name in machine_folders(paths)
    ]
    splits = [split for split in ("train", "test") if any(split in content.dataset for content in contents)]
    dataset = DatasetDict(
        {
            split: concatenate_datasets([one.dataset[split] for one in contents if split in one.dataset])
            for split in splits
        }
    )
    name = printable(Path(paths[0])) if len(paths) == 1 else f"{len(paths)} folders"
    return FolderContent(dataset, _merged(name, [content.summary for content in contents]))


def machine_folders(paths: Sequence[str | Path]) -> list[tuple[Path, str]]:
    """
    The subfolders of folders with the machines that they name.

    Raises:
        ValueError: a folder has no subfolders, or two subfolders have one name.
    """
    folders = [folder for path in paths for folder in _subfolders(Path(path))]
    counts = Counter(printable(folder.name) for folder in folders)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(
            f"--machines: {', '.join(twice)} is in several folders; each machine needs a name of its own."
        )
    return [(folder, printable(folder.name)) for folder in folders]


def _subfolders(path: Path) -> list[Path]:
    found = []
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.is_dir() and not is_system_name(one.name))
    if not found:
        raise ValueError(f"--machines: {path} has no subfolders; it needs one for each machine, named after it.")
    return found


def _merged(name: str, summaries: Sequence[FolderSummary]) -> FolderSummary:
    merged = FolderSummary(name)
    for one in summaries:
        merged.counts.update(one.counts)
        merged.sessions.update(one.sessions)
        merged.session_sources.update(one.session_sources)
        merged.add_words((word, meaning) for meaning, words in one.words.items() for word in words)
        for kind, names in one.ignored.items():
            merged.ignored.setdefault(kind, []).extend(names)
        merged.problems += one.problems
        merged.notes += [note for note in one.notes if note not in merged.notes]
    return merged


def machine_of(path: str | Path, folder: str | Path) -> str | None:
    """The first subfolder of `folder` on the way to a recording; `None` where it lies in the folder itself."""
    parts = Path(path).relative_to(folder).parts
    return printable(parts[0]) if len(parts) > 1 else None


def unknown_machine(machine: str | None, known: Collection[str]) -> str:
    """What is wrong with a recording of a machine that the detector does not know, and what to do."""
    listed = ", ".join(sorted(known))
    if machine is None:
        return f"lies in no subfolder, which would name its machine; this detector knows {listed}."
    return f"is of {machine} by its subfolder; this detector knows {listed}. Rename the subfolder, or fit with it."
