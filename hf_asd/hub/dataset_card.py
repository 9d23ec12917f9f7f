"""Publishes recordings on the Hugging Face Hub: one config per machine, a card, playable in the viewer."""

from collections import Counter
from pathlib import Path

from datasets import Audio, DatasetDict
from huggingface_hub import DatasetCard, DatasetCardData, HfApi
from huggingface_hub.utils import validate_repo_id


TAGS = ["anomaly-detection", "anomalous-sound-detection", "machine-condition-monitoring", "audio"]
SPLITS = ("train", "test", "supplemental")
COLUMNS = {
    "audio": "the recording",
    "machine": "the machine's name; also the config",
    "section": "a part of the machine's recordings, `00` where there is one; a machine id in DCASE 2020",
    "domain": "`source` (many normal recordings), `target` (few, under other conditions) or `unknown`",
    "condition": "`normal`, `anomaly` or `unknown`; training recordings are normal",
    "attributes": "operating condition as pairs of `key` and `value`, empty where it is hidden",
    "attribute_label": "the same as one text, null where it is hidden",
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
    Uploads a dataset of the schema, recordings included, with one config per machine.

    Mind the license of the recordings: those of DCASE may be shared for non-commercial use under the same terms
    (`cc-by-nc-sa-4.0`), the evaluation's ground truth may not be shared at all.

    Args:
        dataset (`datasets.DatasetDict`): as of [`~hf_asd.data.dcase.loading.load_dcase`] or
            [`~hf_asd.data.folder.load_folder`].
        repo_id (`str`): `"<user>/<name>"`; made where it is not there. Configs of the same name are replaced.
        title (`str`): of the card.
        license (`str`): an identifier of the Hub, such as `"cc-by-nc-sa-4.0"`, or `"other"`.
        description (`str`, *optional*): a paragraph for the card.
        private (`bool`, *optional*, defaults to `True`): whether only you see a repository that is made now.
        sampling_rate (`int`, *optional*): in Hz, what the recordings are decoded to; as recorded by default.
        token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.

    Returns:
        `str`: the repository's address.

    Raises:
        ValueError: the dataset is empty, a column of the schema is missing, or a machine's name cannot be a config.
        FileNotFoundError: a recording is not there; nothing is uploaded.
    """
    validate_repo_id(repo_id)
    machines = _machines(dataset)
    api = HfApi(token=token)
    address = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    for machine in machines:
        of_machine(dataset, machine, sampling_rate).push_to_hub(
            repo_id, config_name=machine, commit_message=f"{machine}: recordings", token=token
        )
    # Uploading wrote the configs and features into the card's header; they stay, text and labels are added.
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


def of_machine(dataset: DatasetDict, machine: str, sampling_rate: int | None = None) -> DatasetDict:
    """
    One machine's recordings, typed so that the Hub's viewer plays them.

    Args:
        dataset (`datasets.DatasetDict`): rows of the schema.
        machine (`str`): whose rows are taken.
        sampling_rate (`int`, *optional*): in Hz, what the recordings are decoded to; as recorded by default.

    Returns:
        `datasets.DatasetDict`: the splits that the machine has.
    """
    splits = {}
    for split in sorted(dataset, key=SPLITS.index):
        places = [place for place, name in enumerate(dataset[split]["machine"]) if name == machine]
        if places:
            rows = dataset[split].select_columns(list(COLUMNS)).select(places)
            splits[split] = rows.cast_column("audio", Audio(sampling_rate=sampling_rate))
    return DatasetDict(splits)


def dataset_card(
    dataset: DatasetDict, repo_id: str, *, title: str, license: str, description: str = ""
) -> DatasetCard:
    """
    The card of a dataset: what is in it, how it is loaded, what the columns mean.

    Args:
        dataset (`datasets.DatasetDict`): rows of the schema.
        repo_id (`str`): where it lies.
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
    hidden = sorted(machine for machine in machines if machines[machine]["attributes"] == 0)
    lines = [
        f"# {title}",
        "",
        *([description, ""] if description else []),
        f"{count} recordings of {len(machines)} machines for anomalous sound detection: training recordings are of "
        "the healthy machine only, test recordings may be of a machine at fault.",
        "",
        "```python",
        "from datasets import Audio, load_dataset",
        "",
        f'dataset = load_dataset("{repo_id}", "{next(iter(machines))}")',
        'dataset = dataset.cast_column("audio", Audio(decode=False))  # bytes, for hf_asd or a decoder of your own',
        "```",
        "",
        _line("machine (config)", *dataset, "different operating conditions"),
        "|---" * (len(dataset) + 2) + "|",
        *(
            _line(machine, *(found[split] for split in dataset), found["attributes"] or "hidden")
            for machine, found in machines.items()
        ),
        "",
        "| column | |",
        "|---|---|",
        *(_line(f"`{name}`", meaning) for name, meaning in COLUMNS.items()),
        "",
        "Normal recordings of the source domain are many, those of the target domain few: a detector has to serve "
        "both with one threshold."
        + (f" The operating conditions of {', '.join(hidden)} are hidden." if hidden else ""),
        "",
    ]
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines))


def _machines(dataset: DatasetDict) -> dict[str, Counter]:
    """Machine -> recordings of each split, and how many different `attributes` there are."""
    found, labels = {}, {}
    for split, rows in dataset.items():
        missing = [name for name in COLUMNS if name not in rows.column_names]
        if missing:
            raise ValueError(f"the split {split} lacks {', '.join(missing)}; it has {', '.join(rows.column_names)}.")
        for machine, label, audio in zip(
            rows["machine"], rows["attribute_label"], rows.with_format("arrow")["audio"].to_pylist(), strict=True
        ):
            found.setdefault(machine, Counter())[split] += 1
            labels.setdefault(machine, set()).update([label] if label else [])
            if audio["bytes"] is None and not Path(audio["path"]).is_file():
                raise FileNotFoundError(f"{audio['path']}: is not there (any more). Load the dataset again.")
    if not found:
        raise ValueError("the dataset has no rows, nothing to publish.")
    for machine in found:
        # What `datasets` allows in the name of a config.
        if any(character in '<>:/\\|?*"' for character in machine) or not machine.strip():
            raise ValueError(f'machine {machine!r} cannot be a config: its name must not hold any of <>:/\\|?*".')
        found[machine]["attributes"] = len(labels[machine])
    return dict(sorted(found.items()))


def _line(*cells) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _size_category(count: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")]
    return next((name for bound, name in bounds if count < bound), "100K<n<1M")
