"""Adds an embedding to every row of a dataset: the only place that runs an encoder over one."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset, Features, List, Value
from tqdm.auto import tqdm

from ..audio.channels import Channel
from ..audio.reading import BadAudioError, DecodedClip, OnBadAudio, read_clip
from ..data.checking import all_bad_audio
from ..data.schema import read_table, side_by_side, undecoded_audio, write_table
from ..distributed import partial_state
from ..files import read_json, write_json
from ..options import check_word


logger = logging.getLogger(__name__)

SHARD_ROWS = 256  # rows of a file of finished embeddings
BATCH_CLIPS = 32  # clips decoded at a time; the encoder splits them further

# Gets the number of a row and its decoded clip.
Visit = Callable[[int, DecodedClip], None]


class Encoder(Protocol):
    """Turns clips into embeddings: [`~hf_asd.SpectralStatistics`] or [`~hf_asd.TransformerEncoder`]."""

    @property
    def dimensions(self) -> int: ...

    @property
    def description(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray: ...


def embed(
    dataset: Dataset,
    encoder: Encoder,
    output_dir: str | Path | None = None,
    channel: Channel = 0,
    allow_silence: bool = False,
) -> Dataset:
    """
    Adds an `embedding` column. Under `torchrun` or `accelerate launch` each process embeds its share of the rows, and
    all of them get the whole column.

    Args:
        dataset (`datasets.Dataset`): rows of the schema; only `audio` and `clip_id` are read.
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`]): makes an embedding of a clip.
        output_dir (`str` or `Path`, *optional*): where finished embeddings are kept, 256 rows a file; a later call
            with the same folder, clips, encoder and channel continues after them. Recordings that have changed are
            embedded again.
        channel (`int` or `str`, *optional*, defaults to 0), allow_silence (`bool`, *optional*, defaults to `False`):
            as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `datasets.Dataset`: the rows in their order with `embedding`, a list of float32 of fixed length.

    Raises:
        BadAudioError: recordings cannot be used; names all of them. Finished embeddings in `output_dir` stay.
        ValueError: `output_dir` holds embeddings of other recordings, or of another encoder or channel.
    """
    return embed_recordings(dataset, encoder, output_dir, channel=channel, allow_silence=allow_silence).rows


@dataclass
class EmbeddedRows:
    """
    Args:
        rows (`datasets.Dataset`): the usable rows with `embedding`.
        row_numbers (`np.ndarray` of shape `(rows,)`): their numbers in the dataset that was embedded, int64.
        skipped (`list[str]`): one message for every recording that was left out.
    """

    rows: Dataset
    row_numbers: np.ndarray
    skipped: list[str]


def embed_recordings(
    dataset: Dataset,
    encoder: Encoder,
    output_dir: str | Path | None = None,
    *,
    channel: Channel = 0,
    allow_silence: bool = False,
    on_bad_audio: OnBadAudio = "error",
    visit: Visit | None = None,
) -> EmbeddedRows:
    """
    As [`embed`], for callers that need the decoded clips for more than their embeddings: each file is decoded once.

    Args:
        dataset, encoder, output_dir, channel, allow_silence: as for [`embed`].
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether unusable recordings are an
            error or left out.
        visit (`Callable[[int, DecodedClip], None]`, *optional*): called with the number of each row and its clip, in
            the process that decodes it; also for rows whose embedding `output_dir` has.

    Returns:
        [`EmbeddedRows`].
    """
    check_word("on_bad_audio", on_bad_audio, OnBadAudio)
    state = partial_state()
    if output_dir is not None:
        with state.main_process_first():
            _claim(Path(output_dir), dataset, encoder, channel)
    starts = range(0, len(dataset), SHARD_ROWS)
    own = starts[state.process_index :: state.num_processes]
    decoding = _Decoding(channel, allow_silence, on_bad_audio == "error", visit)
    shards: dict[int, np.ndarray] = {}
    total = sum(min(SHARD_ROWS, len(dataset) - start) for start in own)
    with tqdm(total=total, desc="embedding", unit="clip", disable=not state.is_local_main_process) as progress:
        for start in own:
            rows = dataset.select(range(start, min(start + SHARD_ROWS, len(dataset))))
            file = None
            if output_dir is not None:
                # A changed recording has another fingerprint, so that its shard is embedded again.
                file = Path(output_dir) / f"embeddings-{start:08d}-{_fingerprint(rows)[:12]}.parquet"
            shards[start] = _shard(rows, start, encoder, decoding, file, progress)
    # Every process gets the shards and messages of all.
    shards = dict(gather_object(list(shards.items())))
    messages = [message for _, message in sorted(gather_object(decoding.messages))]
    if messages and on_bad_audio == "error":
        raise all_bad_audio(messages, len(dataset))
    embeddings = np.concatenate([shards[start] for start in starts]) if starts else np.empty((0, encoder.dimensions))
    usable = np.flatnonzero(~np.isnan(embeddings).any(1))
    if len(usable) < len(dataset):
        dataset, embeddings = dataset.select(usable), embeddings[usable]
    return EmbeddedRows(side_by_side(dataset, _column(embeddings)), usable, messages)


@dataclass
class _Decoding:
    """Decodes rows one after the other and remembers which were unusable."""

    channel: Channel
    allow_silence: bool
    stop_at_bad: bool
    visit: Visit | None
    messages: list[tuple[int, str]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """Whether the task will end in an error, so that only further unusable recordings are looked for."""
        return self.stop_at_bad and bool(self.messages)

    def clips(self, audios: list[dict], first: int) -> Iterator[tuple[int, DecodedClip]]:
        """The usable clips among `audios`, each with its place there; `first` is the row number of the first."""
        for place, audio in enumerate(audios):
            try:
                clip = read_clip(audio, channel=self.channel, allow_silence=self.allow_silence)
            except BadAudioError as error:
                self.messages.append((first + place, str(error)))
                continue
            for note in clip.notes:
                logger.warning(note)
            if self.visit is not None:
                self.visit(first + place, clip)
            yield place, clip


def _shard(
    rows: Dataset, first: int, encoder: Encoder, decoding: _Decoding, file: Path | None, progress: tqdm
) -> np.ndarray:
    """The embeddings of one shard, from its file where there is one; NaN for unusable recordings."""
    kept = None if file is None or not file.exists() else get_embeddings(read_table(file)).numpy()
    if kept is not None and decoding.visit is None and not np.isnan(kept).any():
        progress.update(len(rows))
        return kept
    embeddings = np.full((len(rows), encoder.dimensions), np.nan, dtype=np.float32)
    for start in range(0, len(rows), BATCH_CLIPS):
        audios = undecoded_audio(rows.select(range(start, min(start + BATCH_CLIPS, len(rows)))))
        clips = dict(decoding.clips(audios, first + start))
        if clips and kept is None and not decoding.stopped:
            embeddings[[start + place for place in clips]] = encoder([clip.samples for clip in clips.values()])
        progress.update(len(audios))
    if kept is not None:
        return kept
    if file is not None and not decoding.stopped:
        write_table(_column(embeddings), file)
    return embeddings


def _column(embeddings: np.ndarray) -> Dataset:
    features = Features({"embedding": List(Value("float32"), length=embeddings.shape[1])})
    return Dataset.from_dict({"embedding": embeddings}, features=features)


def _claim(output_dir: Path, dataset: Dataset, encoder: Encoder, channel: Channel) -> None:
    """Marks a folder as holding the embeddings of these recordings, or refuses one that holds others."""
    clip_ids = hashlib.sha256("\n".join(dataset["clip_id"][:]).encode()).hexdigest()
    made_from = {"recordings": clip_ids, "encoder": encoder.fingerprint, "channel": channel}
    file = output_dir / "made_from.json"
    if not file.exists():
        write_json(file, made_from)
        return
    found = read_json(file)
    others = {"recordings": "other recordings", "encoder": "another encoder", "channel": "another channel"}
    differing = [others[name] for name in made_from if found.get(name) != made_from[name]]
    if differing:
        raise ValueError(
            f"{output_dir}: holds embeddings of {' and '.join(differing)}; give another folder, or remove this one."
        )


def _fingerprint(dataset: Dataset) -> str:
    """Of names, sizes and times of recordings; of their content where they are not files."""
    digest = hashlib.sha256()
    for clip_id, audio in zip(dataset["clip_id"][:], undecoded_audio(dataset), strict=True):
        digest.update(f"{clip_id}\n".encode())
        if audio["bytes"]:
            digest.update(audio["bytes"])
        elif Path(audio["path"]).is_file():
            stat = Path(audio["path"]).stat()
            digest.update(f"{audio['path']} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def get_embeddings(dataset: Dataset) -> torch.Tensor:
    """The `embedding` column as a `torch.Tensor` of shape `(rows, dimensions)`, float32."""
    return torch.from_numpy(np.ascontiguousarray(dataset.with_format("numpy")["embedding"][:]))
