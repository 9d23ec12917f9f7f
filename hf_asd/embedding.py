"""Recordings -> one embedding each: the only place that runs an encoder over a dataset."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset, Features, List, Value
from tqdm.auto import tqdm
from transformers import ASTFeatureExtractor, AutoModel

from .audio.acoustic_features import SOUNDS, extract_features, summarize_features
from .audio.filter_bank import FilterBankExtractor
from .audio.reading import SAMPLING_RATE, read_audio
from .data.schema import read_table, side_by_side, write_table
from .distributed import partial_state
from .models.eat.feature_extraction_eat import EatFeatureExtractor
from .models.encoders import get_layers, load_feature_extractor, truncate_layers
from .models.pooling import check_pooling, clamp_outliers, embedding_size, patch_grid, pool


QUANTILES = (0.1, 0.5, 0.9)
MEL_BANDS = 128
STATISTICS_SIZE = len(QUANTILES) * MEL_BANDS  # dimensions of spectral statistics as quantiles
STATISTICS = {"mean": None, "quantiles": QUANTILES, "acoustic_features": None}
WINDOW_SECONDS = 30  # longer recordings are embedded in parts: attention grows with the square of the length
SHARD_ROWS = 256


class SpectralStatistics:
    """
    An embedding without weights: statistics over time of the log energy in each mel band, or what a maintenance
    engineer would listen for.

    Args:
        statistics (`"quantiles"`, `"mean"` or `"acoustic_features"`, *optional*, defaults to `"quantiles"`): the 10, 50 and
            90 % quantiles of each of the 128 bands; its mean; or levels, tones, swells, knocks and rhythms of
            [`~hf_asd.audio.acoustic_features.extract_features`].
    """

    def __init__(self, statistics: str = "quantiles"):
        if statistics not in STATISTICS:
            raise ValueError(f"statistics is {statistics!r}; accepted are {', '.join(STATISTICS)}.")
        self.statistics = statistics
        self.feature_extractor = EatFeatureExtractor(do_normalize=False)
        self.dimensions = self([np.zeros(SAMPLING_RATE, dtype=np.float32)]).shape[1]

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """
        Args:
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz.

        Returns:
            `np.ndarray` of shape `(clips, 384)` (quantiles) or `(clips, 128)` (mean), float32, natural logarithms of
            energy; or of shape `(clips, 608)` (description), float32, decibels.
        """
        if self.statistics == "acoustic_features":
            summaries = [summarize_features(extract_features(clip)) for clip in clips]
            return np.stack([np.concatenate([summary[kind] for kind in SOUNDS]) for summary in summaries])
        quantiles = STATISTICS[self.statistics]
        rows = []
        for clip in clips:
            log_mel = self.feature_extractor.log_mel(torch.from_numpy(clip)[None])[0]
            if quantiles is None:
                rows.append(log_mel.mean(0))
            else:
                rows.append(log_mel.quantile(torch.tensor(quantiles), dim=0).flatten())
        return torch.stack(rows).numpy()


class TransformerEncoder:
    """
    A pretrained audio transformer, its feature extractor and pooling.

    Args:
        model (`PreTrainedModel`): any audio encoder of `AutoModel`, or an attribute classifier, whose own pooling is
            used.
        feature_extractor (`FeatureExtractionMixin`): the one the model was trained with.
        pooling (`str`, *optional*, defaults to `"mean"`): how tokens become one embedding, see
            [`~hf_asd.models.pooling.pool`].
        batch_size (`int`, *optional*, defaults to 8): clips a forward pass.
        layer (`int` or `"mean"`, *optional*): the block whose output is pooled, from 1, or from -1 for the last one
            backwards; the blocks behind it are dropped from the model. It is the block's own output, before a norm
            that an encoder may have behind its last block. `"mean"` pools the mean of all blocks' outputs. By default
            the encoder's last hidden state is pooled.
        clamp_outlier_channels (`bool`, *optional*, defaults to `False`): see [`~hf_asd.models.pooling.pool`].
        with_statistics (`bool`, *optional*, defaults to `False`): puts [`SpectralStatistics`] in front of every
            embedding.

    Raises:
        ValueError: a pooling or a layer that this encoder does not have.
    """

    def __init__(
        self,
        model,
        feature_extractor,
        pooling: str = "mean",
        batch_size: int = 8,
        layer: int | str | None = None,
        clamp_outlier_channels: bool = False,
        with_statistics: bool = False,
    ):
        self.is_classifier = model.config.model_type == "attribute_classifier"
        if self.is_classifier and layer is not None:
            raise ValueError(
                f"layer is {layer}, but an attribute classifier was trained on the output of its last block; leave "
                "layer out."
            )
        shape, pooled = (
            (model.config.encoder_config, model.config.pooling) if self.is_classifier else (model.config, pooling)
        )
        check_pooling(shape, pooling)
        self.statistics = SpectralStatistics() if with_statistics else None
        self.dimensions = embedding_size(shape, pooled) + (self.statistics.dimensions if with_statistics else 0)
        if isinstance(layer, str) and layer != "mean":
            raise ValueError(f"layer is {layer!r}; accepted are a block's number and 'mean'.")
        self.layer = layer if layer in (None, "mean") else truncate_layers(model, layer)
        self.model = model.eval()
        self.feature_extractor = feature_extractor
        self.pooling = pooled
        self.batch_size = batch_size
        self.clamp_outlier_channels = clamp_outlier_channels

    @classmethod
    def from_pretrained(
        cls,
        encoder: str | Path,
        pooling: str = "mean",
        batch_size: int = 8,
        layer: int | str | None = None,
        clamp_outlier_channels: bool = False,
        with_statistics: bool = False,
    ) -> "TransformerEncoder":
        """
        Args:
            encoder (`str` or `Path`): id on the Hub, or a folder with a model and its feature extractor.
            pooling, batch_size, layer, clamp_outlier_channels, with_statistics: as for the class.

        Raises:
            OSError: there is no such encoder.
            ValueError: its weights are not all there, or a pooling or a layer that it does not have.
        """
        # Weights may be kept in half precision; embeddings are single precision.
        model = AutoModel.from_pretrained(encoder, dtype=torch.float32).to(partial_state().device)
        if model.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        extractor = load_feature_extractor(encoder)
        return cls(model, extractor, pooling, batch_size, layer, clamp_outlier_channels, with_statistics)

    def save_pretrained(self, folder: str | Path):
        """Writes model and feature extractor as an ordinary transformers checkpoint."""
        self.model.save_pretrained(folder)
        self.feature_extractor.save_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        """
        Recordings longer than 30 s, for AST longer than its fixed length (10.24 s as published), are embedded in equal
        parts and averaged.

        Args:
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz.

        Returns:
            `np.ndarray` of shape `(clips, dimensions)`, float32.
        """
        parts, owners = [], []
        for owner, clip in enumerate(clips):
            own = self._parts(clip)
            parts += own
            owners += [owner] * len(own)
        # Only parts of one length share a forward pass, so no padding reaches an embedding.
        by_length = {}
        for index, part in enumerate(parts):
            by_length.setdefault(len(part), []).append(index)
        embedded = [None] * len(parts)
        for indices in by_length.values():
            for start in range(0, len(indices), self.batch_size):
                chosen = indices[start : start + self.batch_size]
                for index, embedding in zip(chosen, self._forward([parts[i] for i in chosen]), strict=True):
                    embedded[index] = embedding
        sums = torch.zeros(len(clips), embedded[0].shape[0]).index_add_(0, torch.tensor(owners), torch.stack(embedded))
        means = (sums / torch.tensor(owners).bincount()[:, None]).numpy()
        return means if self.statistics is None else np.concatenate([self.statistics(clips), means], axis=1)

    @torch.inference_mode()
    def patches(self, clip: np.ndarray) -> torch.Tensor:
        """
        A clip's patches before pooling, those of a long clip's parts one behind the other.

        Args:
            clip (`np.ndarray` of shape `(samples,)`): float32, 16 kHz.

        Returns:
            `torch.Tensor` of shape `(times, bands, hidden_size)`, float32.
        """
        config = self.model.config.encoder_config if self.is_classifier else self.model.config
        grids = []
        for part in self._parts(clip):
            tokens = self._tokens(self._inputs([part]))
            grids.append(patch_grid(clamp_outliers(tokens) if self.clamp_outlier_channels else tokens, config)[0])
        return torch.cat(grids).cpu()

    def _parts(self, clip: np.ndarray) -> list[np.ndarray]:
        longest = WINDOW_SECONDS * SAMPLING_RATE
        if isinstance(self.feature_extractor, ASTFeatureExtractor):  # it drops what goes beyond
            longest = min(longest, self.feature_extractor.max_length * 160 + 240)  # frames of 25 ms every 10 ms
        return np.array_split(clip, math.ceil(len(clip) / longest))

    def _inputs(self, parts: list[np.ndarray]) -> torch.Tensor:
        # EAT's and BEATs' log energies are computed where the model is.
        where = {"device": self.model.device} if isinstance(self.feature_extractor, FilterBankExtractor) else {}
        features = self.feature_extractor(parts, sampling_rate=SAMPLING_RATE, return_tensors="pt", **where)
        return features[self.model.main_input_name].to(self.model.device)

    def _forward(self, parts: list[np.ndarray]) -> torch.Tensor:
        inputs = self._inputs(parts)
        if self.is_classifier:
            return self.model(inputs).embeddings.float().cpu()
        return pool(self._tokens(inputs), self.pooling, self.model.config, self.clamp_outlier_channels).cpu()

    def _tokens(self, inputs: torch.Tensor) -> torch.Tensor:
        """Tokens of the chosen layer, of shape `(clips, tokens, hidden_size)`, float32."""
        if self.layer is None:
            model = self.model.encoder if self.is_classifier else self.model
            return model(inputs).last_hidden_state.float()
        blocks = list(get_layers(self.model))
        outputs = []

        def keep(block, args, output):
            outputs.append((output[0] if isinstance(output, tuple) else output).float())

        hooks = [block.register_forward_hook(keep) for block in (blocks if self.layer == "mean" else blocks[-1:])]
        try:
            self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(outputs).mean(0)


def embed(
    dataset: Dataset,
    encoder,
    output_dir: str | Path | None = None,
    channel: int | str = 0,
    allow_silence: bool = False,
) -> Dataset:
    """
    Adds an `embedding` column. Under `torchrun` or `accelerate launch` each process embeds its share of the rows, and
    all of them get the whole column.

    Args:
        dataset (`datasets.Dataset`): rows of the schema; only `audio` and `clip_id` are read.
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`]): what turns clips into embeddings.
        output_dir (`str` or `Path`, *optional*): where finished parts are kept, 256 rows a file; a later call with the
            same folder goes on behind them.
        channel (`int` or `str`, *optional*, defaults to 0), allow_silence (`bool`, *optional*, defaults to `False`):
            as for [`~hf_asd.audio.reading.read_audio`].

    Returns:
        `datasets.Dataset`: the rows in their order with `embedding`, a list of float32 of fixed length.

    Raises:
        BadAudioError: a recording cannot be used; finished parts in `output_dir` stay.
        ValueError: `output_dir` holds embeddings of other recordings.
    """
    state = partial_state()
    if output_dir is not None:
        with state.main_process_first():
            _claim(Path(output_dir), dataset)
    starts = range(0, len(dataset), SHARD_ROWS)
    own = starts[state.process_index :: state.num_processes]
    parts = {}
    total = sum(min(SHARD_ROWS, len(dataset) - start) for start in own)
    with tqdm(total=total, desc="embedding", unit="clip", disable=not state.is_local_main_process) as progress:
        for start in own:
            rows = dataset.select(range(start, min(start + SHARD_ROWS, len(dataset))))
            file = None if output_dir is None else Path(output_dir) / f"embeddings-{start:08d}.parquet"
            if file is not None and file.exists():
                parts[start] = get_embeddings(read_table(file)).numpy()
                progress.update(len(rows))
            else:
                parts[start] = _embed_rows(rows, encoder, channel, allow_silence, progress)
                if file is not None:
                    write_table(_column(parts[start]), file)
    # Every process gets the parts of all.
    parts = dict(gather_object(list(parts.items())))
    return side_by_side(dataset, _column(np.concatenate([parts[start] for start in starts])))


def _embed_rows(rows: Dataset, encoder, channel: int | str, allow_silence: bool, progress: tqdm) -> np.ndarray:
    embeddings = []
    batch_size = 32  # clips decoded at a time; the encoder splits them further
    for batch in rows.select_columns("audio").iter(batch_size):
        clips = [read_audio(audio, channel=channel, allow_silence=allow_silence) for audio in batch["audio"]]
        embeddings.append(encoder(clips))
        progress.update(len(batch["audio"]))
    return np.concatenate(embeddings)


def _column(embeddings: np.ndarray) -> Dataset:
    features = Features({"embedding": List(Value("float32"), length=embeddings.shape[1])})
    return Dataset.from_dict({"embedding": embeddings}, features=features)


def _claim(output_dir: Path, dataset: Dataset):
    """Marks a folder as holding the embeddings of these recordings, or refuses one that holds others'."""
    recordings = hashlib.sha256("\n".join(dataset["clip_id"][:]).encode()).hexdigest()
    mark = output_dir / "recordings.json"
    if mark.exists():
        if json.loads(mark.read_text()) != recordings:
            raise ValueError(f"{output_dir} holds embeddings of other recordings; give another folder or remove it.")
    else:
        output_dir.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(recordings))


def get_embeddings(dataset: Dataset) -> torch.Tensor:
    """The `embedding` column as a `torch.Tensor` of shape `(rows, dimensions)`, float32."""
    return torch.from_numpy(np.ascontiguousarray(dataset.with_format("numpy")["embedding"][:]))
