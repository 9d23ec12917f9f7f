"""Publishes recordings on the Hugging Face Hub: one config per machine, a card, and a viewer that plays them."""

from collections import Counter
from pathlib import Path

from datasets import Audio, DatasetDict
from huggingface_hub import DatasetCard, DatasetCardData, HfApi
from huggingface_hub.utils import validate_repo_id

from ..data.schema import arrow_table


TAGS = ["anomaly-detection", "anomalous-sound-detection", "machine-condition-monitoring", "audio"]
SPLITS = ("train", "test", "supplemental")
COLUMN_MEANINGS = {
    "audio": "the recording",
    "machine": "name of the machine; also name of the config",
    "section": "a part of the recordings of a machine, `00` if there is only one; a machine id in DCASE 2020",
    "domain": "`source` (many normal recordings), `target` (few normal recordings, other conditions) or `unknown`",
    "condition": "`normal`, `anomaly` or `unknown`; training recordings are normal",
    "attributes": "operating condition as pairs of `key` and `value`; empty where it is hidden",
    "attribute_label": "the attributes as one text; null where they are hidden",
    "session": "the day or session that it was recorded in; null where it is not known",
    "clip_id": "unique and stable: `<machine>/<split>/<name>`",
    "split": "`train`, `test` or `supplemental`",
}


def push_dataset_to_hub(
    dataset: DatasetDict,
    repo_id: str,
    *,
    title: str,
    license: str,
    description: str = "",
    private: bool = True,
    sampling_rate: int | None = None,
    token: str | None = None,
) -> str:
    """
    Uploads a dataset of the schema with its recordings, one config per machine.

    Check the license of the recordings first: those of DCASE may be shared for non-commercial use under the same
    license (`cc-by-nc-sa-4.0`); the ground truth of the evaluation data must not be shared.

    Args:
        dataset (`datasets.DatasetDict`): the result of [`~hf_asd.data.dcase.loading.load_dcase`] or
            [`~hf_asd.data.folder.load_folder`].
        repo_id (`str`): `"<user>/<name>"`; created if it does not exist. Configs of the same name are replaced.
        title (`str`): title of the card.
        license (`str`): a license as the Hub names it, such as `"cc-by-nc-sa-4.0"`, or `"other"`.
        description (`str`, *optional*): a paragraph for the card.
        private (`bool`, *optional*, defaults to `True`): whether a repository that is created now is visible
            only to you.
        sampling_rate (`int`, *optional*): rate in Hz that readers decode to; defaults to the rate of the recordings.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `str`: address of the repository.

    Raises:
        ValueError: the dataset is empty, a column of the schema is missing, or a machine's name is not allowed as a
            config.
        FileNotFoundError: a recording does not exist; nothing is uploaded.
    """
    validate_repo_id(repo_id)
    machines = _machines(dataset)
    api = HfApi(token=token)
    address = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    for machine in machines:
        rows_of_machine(dataset, machine, sampling_rate).push_to_hub(
            repo_id, config_name=machine, commit_message=f"{machine}: recordings", token=token
        )
    # The upload wrote configs and features into the header of the card: keep them, add the text and the tags.
    written = DatasetCard.load(repo_id, token=token)
    card = dataset_card(dataset, repo_id, title=title, license=license, description=description)
    card.data = DatasetCardData(**(written.data.to_dict() | card.data.to_dict()))
    api.upload_file(
        path_or_fileobj=str(card).encode(),
        path_in_repo="README.md",
        repo_id=repo_id,
        repo_type="dataset",
        commit_message="Dataset card",
    )
    return str(address)


def rows_of_machine(dataset: DatasetDict, machine: str, sampling_rate: int | None = None) -> DatasetDict:
    """
    The recordings of one machine, with a column type that the Hub's viewer can play.

    Args:
        dataset (`datasets.DatasetDict`): rows of the schema.
        machine (`str`): name of the machine.
        sampling_rate (`int`, *optional*): rate in Hz that readers decode to; defaults to the rate of the recordings.

    Returns:
        `datasets.DatasetDict`: the splits of the machine.
    """
    splits = {}
    for split in sorted(dataset, key=SPLITS.index):
        places = [place for place, name in enumerate(dataset[split]["machine"]) if name == machine]
        if places:
            rows = dataset[split].select_columns(list(COLUMN_MEANINGS)).select(places)
            splits[split] = rows.cast_column("audio", Audio(sampling_rate=sampling_rate))
    return DatasetDict(splits)


def dataset_card(
    dataset: DatasetDict, repo_id: str, *, title: str, license: str, description: str = ""
) -> DatasetCard:
    """
    The card of a dataset: contents, how to load it, meaning of the columns.

    Args:
        dataset (`datasets.DatasetDict`): rows of the schema.
        repo_id (`str`): id of the repository.
        title (`str`), license (`str`), description (`str`, *optional*): as for [`push_dataset_to_hub`].

    Returns:
        `huggingface_hub.DatasetCard`.
    """
    machines = _machines(dataset)
    count = sum(len(rows) for rows in dataset.values())
    data = DatasetCardData(
        license=license,
        pretty_name=title,
        task_categories=["audio-classification"],
        tags=TAGS,
        size_categories=[_size_category(count)],
    )
    # Recordings of a challenge hide attributes; a folder of one's own may just have none.
    has_domains = any("target" in rows["domain"] for rows in dataset.values())
    no_attributes = "hidden" if has_domains else "not given"
    hidden = sorted(machine for machine in machines if machines[machine]["attributes"] == 0)
    lines = [
        f"# {title}",
        "",
        *([description, ""] if description else []),
        f"{count} recordings of {len(machines)} {'machine' if len(machines) == 1 else 'machines'} for anomalous sound "
        "detection: training recordings are of normal operation only, test recordings may contain faults. The viewer "
        "plays them.",
        "",
        "```python",
        "from datasets import Audio, load_dataset",
        "",
        f'dataset = load_dataset("{repo_id}", "{next(iter(machines))}")',
        'dataset = dataset.cast_column("audio", Audio(decode=False))  # bytes, for hf_asd or another decoder',
        "```",
        "",
        _line("machine (config)", *dataset, "different operating conditions"),
        "|---" * (len(dataset) + 2) + "|",
        *(
            _line(
                machine,
                *(found[split] for split in dataset),
                found["attributes"] or no_attributes,
            )
            for machine, found in machines.items()
        ),
        "",
        "| column | |",
        "|---|---|",
        *(_line(f"`{name}`", meaning) for name, meaning in COLUMN_MEANINGS.items()),
        "",
        *(_about_domains(hidden) if has_domains else ()),
    ]
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines))


def _about_domains(hidden: list[str]) -> list[str]:
    text = (
        "There are many normal recordings of the source domain and few of the target domain; a detector uses one "
        "threshold for both."
    )
    return [text + (f" The operating conditions of {', '.join(hidden)} are hidden." if hidden else ""), ""]


def _machines(dataset: DatasetDict) -> dict[str, Counter]:
    """Machine -> recordings of each split, and how many different `attributes` there are."""
    found, labels = {}, {}
    for split, rows in dataset.items():
        missing = [name for name in COLUMN_MEANINGS if name not in rows.column_names]
        if missing:
            raise ValueError(f"the split {split} lacks {', '.join(missing)}; it has {', '.join(rows.column_names)}.")
        for machine, label, audio in zip(
            rows["machine"],
            rows["attribute_label"],
            arrow_table(rows.select_columns("audio"))["audio"].to_pylist(),
            strict=True,
        ):
            found.setdefault(machine, Counter())[split] += 1
            labels.setdefault(machine, set()).update([label] if label else [])
            if audio["bytes"] is None and not Path(audio["path"]).is_file():
                raise FileNotFoundError(f"{audio['path']}: does not exist. Load the dataset again.")
    if not found:
        raise ValueError("the dataset has no rows.")
    for machine in found:
        # Characters that `datasets` does not allow in the name of a config.
        if any(character in '<>:/\\|?*"' for character in machine) or not machine.strip():
            raise ValueError(f'machine {machine!r} cannot be a config: its name must not contain any of <>:/\\|?*".')
        found[machine]["attributes"] = len(labels[machine])
    return dict(sorted(found.items()))


def _line(*cells) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _size_category(count: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")]
    return next((name for bound, name in bounds if count < bound), "100K<n<1M")
