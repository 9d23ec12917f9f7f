"""Adds an embedding to every row of a dataset: the only place that runs an encoder over one."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import Audio, Dataset, Features, List, Value
from tqdm.auto import tqdm

from ..audio.channels import Channel
from ..audio.clock import Span, span_text
from ..audio.log_mel_store import LogMelStore, fitting, recording_key
from ..audio.reading import BadAudioError, OnBadAudio
from ..audio.source import MEMORY_NAME
from ..audio.windows import Window, WindowRule, read_windows
from ..data.checking import all_bad_audio
from ..data.own_rows import complete_rows
from ..data.schema import read_table, side_by_side, undecoded_audio, write_table
from ..distributed import gather_lists, partial_state, sharing, works_alone
from ..files import read_json, write_json
from ..options import check_word


SHARD_ROWS = 256  # rows of a file of finished embeddings
BATCH_CLIPS = 32  # clips or windows embedded at a time; the encoder splits them further

# Gets the number of a row and its recording, or a window of it, with the decoded clip.
Visit = Callable[[int, Window], None]
# The same for some of them at a time.
VisitMany = Callable[[Sequence[tuple[int, Window]]], None]


class Encoder(Protocol):
    """
    Turns clips into embeddings: [`~hf_asd.SpectralStatistics`] or [`~hf_asd.TransformerEncoder`].

    One that also takes log energies has a `log_mel_extractor`, which computes them, and `longest_frames`: frames of
    the longest recording that it embeds as one.
    """

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
    log_mels: LogMelStore | None = None,
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
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): log energies that are kept of these
            recordings. Where the encoder starts from such, it takes them; the embeddings are the same.

    Returns:
        `datasets.Dataset`: the rows in their order with `embedding`, a list of float32 of fixed length.

    Raises:
        BadAudioError: recordings cannot be used; names all of them. Finished embeddings in `output_dir` stay.
        ValueError: `output_dir` holds embeddings of other recordings, or of another encoder or channel.
    """
    dataset = complete_rows(dataset, "clip_id")
    if "audio" not in dataset.column_names:
        raise ValueError(f"the dataset has the columns {', '.join(dataset.column_names)}; needed is audio.")
    embedded = embed_recordings(
        dataset, encoder, output_dir, channel=channel, allow_silence=allow_silence, log_mels=log_mels
    )
    return with_embeddings(dataset, embedded)


@dataclass
class EmbeddedRows:
    """
    One embedding a recording, or several where it was cut into windows.

    Args:
        embeddings (`np.ndarray` of shape `(windows, dimensions)`): of all usable recordings, float32.
        row_numbers (`np.ndarray` of shape `(windows,)`): numbers of their rows in the dataset that was embedded,
            int64, never falling.
        spans (`list[tuple[float, float] | None]`): start and end of each window in seconds; `None` for a whole
            recording.
        skipped (`list[str]`): messages about recordings and windows that were left out.
    """

    embeddings: np.ndarray
    row_numbers: np.ndarray
    spans: list[Span | None]
    skipped: list[str]

    def select(self, kept: Sequence[int]) -> "EmbeddedRows":
        """Some of the windows."""
        chosen = np.array(kept, dtype=np.int64)
        spans = [self.spans[place] for place in kept]
        return EmbeddedRows(self.embeddings[chosen], self.row_numbers[chosen], spans, self.skipped)


def embed_recordings(
    dataset: Dataset,
    encoder: Encoder,
    output_dir: str | Path | None = None,
    *,
    channel: Channel = 0,
    allow_silence: bool = False,
    on_bad_audio: OnBadAudio = "error",
    visit: VisitMany | None = None,
    rules: Sequence[WindowRule | None] | None = None,
    log_mels: LogMelStore | None = None,
) -> EmbeddedRows:
    """
    As [`embed`], for callers that need the decoded clips for more than their embeddings: each file is decoded once.

    Args:
        dataset, encoder, output_dir, channel, allow_silence: as for [`embed`].
        on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether unusable recordings are an
            error or left out.
        visit (`Callable[[Sequence[tuple[int, Window]]], None]`, *optional*): called with the numbers of some rows and
            their recordings, or windows of them, before these are embedded, in the process that decodes them and in
            their order, but in another thread; also for rows whose embedding `output_dir` has. A recording that turns
            out to be damaged after some windows is left out as a whole.
        rules (`Sequence[WindowRule | None]`, *optional*): for each row whether its recording is cut into windows; by
            default none is.
        log_mels ([`~hf_asd.audio.log_mel_store.LogMelStore`], *optional*): as for [`embed`]; of no use with `visit`,
            which needs the decoded clips, or windows.

    Returns:
        [`EmbeddedRows`].
    """
    check_word("on_bad_audio", on_bad_audio, OnBadAudio)
    rules = [None] * len(dataset) if rules is None else rules
    state, (process, num_processes) = partial_state(), sharing()
    if output_dir is not None:
        with state.main_process_first():
            _claim(Path(output_dir), dataset, encoder, channel, rules)
    shard_rows = _shard_rows(len(dataset), 1 if output_dir is not None else num_processes)
    starts = range(0, len(dataset), shard_rows)
    own = starts[process::num_processes]
    decoding = _Decoding(channel, allow_silence, on_bad_audio == "error", visit)
    log_mels = fitting(log_mels, getattr(encoder, "log_mel_extractor", None))
    if log_mels is not None:
        decoding.log_mels, decoding.longest_frames = log_mels, encoder.longest_frames  # type: ignore[attr-defined]
    shards: dict[int, _Shard | Path] = {}
    total = sum(min(shard_rows, len(dataset) - start) for start in own)
    is_hidden = works_alone() or not state.is_local_main_process
    with tqdm(total=total, desc="embedding", unit="clip", disable=is_hidden) as progress:
        for start in own:
            rows = dataset.select(range(start, min(start + shard_rows, len(dataset))))
            file = None
            if output_dir is not None:
                # A changed recording has another fingerprint, so that its shard is embedded again.
                file = Path(output_dir) / f"embeddings-{start:08d}-{_fingerprint(rows)[:12]}.parquet"
            shard = _finished_or_new(rows, start, rules, encoder, decoding, file, progress)
            # What is on the disk is not held in memory, nor sent to other processes.
            shards[start] = file if file is not None and file.exists() else shard
    # Every process gets the shards and messages of all.
    shards = dict(gather_lists(list(shards.items())))
    messages = [message for _, message in sorted(gather_lists(decoding.messages))]
    if messages and on_bad_audio == "error":
        raise all_bad_audio(messages, len(dataset))
    windows, embeddings = _in_order([shards[start] for start in starts], starts, encoder.dimensions)
    usable = np.flatnonzero(~np.isnan(embeddings).any(1))
    return EmbeddedRows(
        embeddings=embeddings if len(usable) == len(embeddings) else embeddings[usable],
        row_numbers=np.array([windows[place][0] for place in usable], dtype=np.int64),
        spans=[windows[place][1] for place in usable],
        skipped=messages,
    )


def _in_order(
    shards: "list[_Shard | Path]", starts: Sequence[int], dimensions: int
) -> tuple[list[tuple[int, Span | None]], np.ndarray]:
    """The row and the window of each embedding of shards or their files, and the embeddings."""
    counts = [len(one.windows) if isinstance(one, _Shard) else pq.read_metadata(one).num_rows for one in shards]
    windows: list[tuple[int, Span | None]] = []
    embeddings = np.empty((sum(counts), dimensions), dtype=np.float32)
    for one, start in zip(shards, starts, strict=True):
        shard = one if isinstance(one, _Shard) else _Shard.read(one)
        embeddings[len(windows) : len(windows) + len(shard.windows)] = shard.embeddings
        windows += [(start + place, span) for place, span in shard.windows]
    return windows, embeddings


def _shard_rows(count: int, num_processes: int) -> int:
    """Rows of a shard: fewer where several processes share few rows; the batches are those of one process."""
    batches = max(1, math.ceil(count / BATCH_CLIPS / num_processes))
    return SHARD_ROWS if num_processes == 1 else min(SHARD_ROWS, BATCH_CLIPS * batches)


def with_embeddings(dataset: Dataset, embedded: EmbeddedRows) -> Dataset:
    """
    The usable rows with an `embedding` column.

    Where a recording was cut, each of its windows has a row. Then the columns `recording_id` (the recording's
    `clip_id`, or what the dataset has there), `start_s` and `end_s` (empty for whole recordings) are added, and the
    window is part of the `clip_id`: `fan/1.wav#120.0-130.0`.

    Args:
        dataset (`datasets.Dataset`): the rows that were embedded.
        embedded ([`EmbeddedRows`]): of [`embed_recordings`].
    """
    numbers, embeddings = embedded.row_numbers.tolist(), _column(embedded.embeddings)
    if not any(embedded.spans):
        rows = dataset if len(numbers) == len(dataset) else dataset.select(numbers)
        return side_by_side(rows, embeddings)
    return side_by_side(_pieces(dataset, numbers, embedded.spans), embeddings)


def _pieces(dataset: Dataset, numbers: list[int], spans: list[Span | None]) -> Dataset:
    clip_ids, audios = dataset["clip_id"][:], undecoded_audio(dataset)
    recordings = dataset["recording_id"][:] if "recording_id" in dataset.column_names else clip_ids
    placed = list(zip(numbers, spans, strict=True))
    pieces = {
        # The content of a recording in memory is not repeated for each of its windows.
        "audio": [audios[n] if span is None else audios[n] | {"bytes": None} for n, span in placed],
        "clip_id": [piece_id(clip_ids[n], span) for n, span in placed],
        "recording_id": [recordings[n] for n in numbers],
        "start_s": [None if span is None else span[0] for span in spans],
        "end_s": [None if span is None else span[1] for span in spans],
    }
    text, number = Value("string"), Value("float64")
    features = {"audio": {"bytes": Value("binary"), "path": text}, "clip_id": text, "recording_id": text}
    features = Features({**features, "start_s": number, "end_s": number})
    others = dataset.remove_columns([name for name in pieces if name in dataset.column_names]).select(numbers)
    added = Dataset.from_dict(pieces, features=features).cast_column("audio", Audio(decode=False))
    order = [*dataset.column_names, *(name for name in pieces if name not in dataset.column_names)]
    return side_by_side(others, added).select_columns(order)


def piece_id(clip_id: str, span: Span | None) -> str:
    """The name of a window, or of a whole recording, in a memory bank."""
    return clip_id if span is None else f"{clip_id}#{round(span[0], 3)}-{round(span[1], 3)}"


@dataclass
class _Piece:
    """
    A recording or a window of it as encoders take it: samples or log energies; `None` where it is unusable. It was
    decoded unless its log energies are kept.
    """

    clip: np.ndarray | None
    decoded: Window | None = None

    @property
    def number(self) -> int:
        return 0 if self.decoded is None else self.decoded.number

    @property
    def span(self) -> Span | None:
        return None if self.decoded is None else self.decoded.span


@dataclass
class _Decoding:
    """Decodes rows one after the other and remembers which were unusable."""

    channel: Channel
    allow_silence: bool
    stop_at_bad: bool
    visit: VisitMany | None
    log_mels: LogMelStore | None = None
    longest_frames: float = 0
    messages: list[tuple[int, str]] = field(default_factory=list)
    unusable: set[int] = field(default_factory=set)  # numbers of rows without any embedding

    @property
    def stopped(self) -> bool:
        """Whether the task will end in an error, so that only further unusable recordings are looked for."""
        return self.stop_at_bad and bool(self.messages)

    def pieces(self, row: int, audio: dict, rule: WindowRule | None) -> Iterator[_Piece]:
        """What is embedded of the recording of a row."""
        if self.log_mels is not None and self.visit is None and rule is None:
            log_mel = self.log_mels.get(audio, self.channel)
            if log_mel is not None and len(log_mel) <= self.longest_frames:
                yield _Piece(np.array(log_mel))
                return
        for window in self.windows(row, audio, rule):
            yield _Piece(None if window.clip is None else window.clip.samples, window)

    def windows(self, row: int, audio: dict, rule: WindowRule | None) -> Iterator[Window]:
        """The windows of the recording of a row, as far as it can be decoded."""
        errors: dict[str, list[Span]] = {}
        count = 0
        try:
            for window in read_windows(audio, rule, self.channel, self.allow_silence):
                count += 1
                if window.error is not None and window.span is not None:
                    errors.setdefault(window.error, []).append(window.span)
                yield window
        except BadAudioError as error:
            self.messages.append((row, str(error)))
            self.unusable.add(row)
        for text, spans in errors.items():
            where = f"in {len(spans)} of {count} windows, the first at {span_text(spans[0])}"
            self.messages.append((row, f"{audio['path'] or MEMORY_NAME}: {text.rstrip('.')} ({where})."))


@dataclass
class _Shard:
    """
    The embeddings of some rows.

    Args:
        windows (`list[tuple[int, tuple[float, float] | None]]`): for each embedding the place of its row in the shard,
            and its window.
        embeddings (`np.ndarray` of shape `(windows, dimensions)`): float32; NaN where a recording or window is
            unusable.
    """

    windows: list[tuple[int, Span | None]]
    embeddings: np.ndarray

    @classmethod
    def read(cls, file: Path) -> "_Shard":
        table = read_table(file)
        rows = zip(table["row"], table["start_s"], table["end_s"], strict=True)
        windows = [(place, None if start is None else (start, end)) for place, start, end in rows]
        return cls(windows, get_embeddings(table).numpy())

    def write(self, file: Path) -> None:
        columns = {
            "row": [place for place, _ in self.windows],
            "start_s": [None if span is None else span[0] for _, span in self.windows],
            "end_s": [None if span is None else span[1] for _, span in self.windows],
        }
        features = Features({"row": Value("int64"), "start_s": Value("float64"), "end_s": Value("float64")})
        write_table(side_by_side(Dataset.from_dict(columns, features=features), _column(self.embeddings)), file)


def _finished_or_new(
    rows: Dataset,
    first: int,
    rules: Sequence[WindowRule | None],
    encoder: Encoder,
    decoding: _Decoding,
    file: Path | None,
    progress: tqdm,
) -> _Shard:
    """One shard, from its file where there is one; `first` is the number of its first row."""
    kept = None if file is None or not file.exists() else _Shard.read(file)
    if kept is not None and decoding.visit is None and not np.isnan(kept.embeddings).any():
        progress.update(len(rows))
        return kept
    shard = _new_shard(rows, first, rules, encoder if kept is None else None, decoding, progress)
    if kept is not None:
        return kept
    if file is not None and not decoding.stopped:
        shard.write(file)
    return shard


def _new_shard(
    rows: Dataset,
    first: int,
    rules: Sequence[WindowRule | None],
    encoder: Encoder | None,
    decoding: _Decoding,
    progress: tqdm,
) -> _Shard:
    """Decodes the rows, visits and embeds them; without an encoder they are not embedded."""
    spans: list[list[Span | None]] = []
    vectors: dict[tuple[int, int], np.ndarray] = {}
    waiting: list[tuple[int, _Piece]] = []
    running: list[Future] = []

    def visit_and_embed(some: list[tuple[int, _Piece]]):
        if decoding.visit is not None:
            decoding.visit([(first + place, piece.decoded) for place, piece in some if piece.decoded is not None])
        if encoder is not None and not decoding.stopped:
            keys = [(place, piece.number) for place, piece in some]
            clips = [piece.clip for _, piece in some if piece.clip is not None]
            vectors.update(zip(keys, encoder(clips), strict=True))

    def collect():
        while running:
            running.pop().result()

    def hand_over():
        # While one batch is visited and embedded, the next one is decoded.
        if waiting:
            collect()
            running.append(pool.submit(visit_and_embed, waiting.copy()))
            waiting.clear()

    with ThreadPoolExecutor(1) as pool:
        for start in range(0, len(rows), BATCH_CLIPS):
            audios = undecoded_audio(rows.select(range(start, min(start + BATCH_CLIPS, len(rows)))))
            for place, audio in enumerate(audios, start=start):
                found = []
                for piece in decoding.pieces(first + place, audio, rules[first + place]):
                    found.append(piece.span)
                    if piece.clip is not None:
                        waiting.append((place, piece))
                    if len(waiting) == BATCH_CLIPS:
                        hand_over()
                spans.append([] if first + place in decoding.unusable else found)
            hand_over()
            progress.update(len(audios))
        collect()
    windows = [(place, span) for place, own in enumerate(spans) for span in own or [None]]
    keys = [(place, number) for place, own in enumerate(spans) for number in range(len(own) or 1)]
    dimensions = 0 if encoder is None else encoder.dimensions
    embeddings = np.full((len(windows), dimensions), np.nan, dtype=np.float32)
    for entry, (place, number) in enumerate(keys):
        if spans[place] and (place, number) in vectors:
            embeddings[entry] = vectors[place, number]
    return _Shard(windows, embeddings)


def _column(embeddings: np.ndarray) -> Dataset:
    features = Features({"embedding": List(Value("float32"), length=embeddings.shape[1])})
    return Dataset.from_dict({"embedding": embeddings}, features=features)


def _claim(
    output_dir: Path, dataset: Dataset, encoder: Encoder, channel: Channel, rules: Sequence[WindowRule | None]
) -> None:
    """Marks a folder as holding the embeddings of these recordings, or refuses one that holds others."""
    clip_ids = hashlib.sha256("\n".join(dataset["clip_id"][:]).encode()).hexdigest()
    windows = hashlib.sha256(repr(list(rules)).encode()).hexdigest() if any(rules) else None
    made_from = {
        "recordings": clip_ids,
        "encoder": encoder.fingerprint,
        "channel": channel,
        "windows": windows,
    }
    file = output_dir / "made_from.json"
    if not file.exists():
        write_json(file, made_from)
        return
    found = read_json(file)
    others = {"recordings": "other recordings", "encoder": "another encoder", "channel": "another channel"}
    others["windows"] = "other windows"
    differing = [others[name] for name in made_from if found.get(name) != made_from[name]]
    if differing:
        raise ValueError(
            f"{output_dir}: holds embeddings of {' and '.join(differing)}; give another folder, or remove this one."
        )


def _fingerprint(dataset: Dataset) -> str:
    """Of names, sizes and times of recordings; of their content where they are not files."""
    digest = hashlib.sha256()
    for clip_id, audio in zip(dataset["clip_id"][:], undecoded_audio(dataset), strict=True):
        digest.update(f"{clip_id}\n{recording_key(audio)}\n".encode())
    return digest.hexdigest()


def get_embeddings(dataset: Dataset) -> torch.Tensor:
    """The `embedding` column as a `torch.Tensor` of shape `(rows, dimensions)`, float32."""
    return torch.from_numpy(np.ascontiguousarray(dataset.with_format("numpy")["embedding"][:]))
