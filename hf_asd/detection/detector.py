"""The detector: an encoder, a memory bank a machine, and a threshold that travels with them."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soxr
import torch
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets
from safetensors.torch import load_file, save_file

from ..data.audio import SAMPLING_RATE, read_audio
from ..embedding import SpectralStatistics, TransformerEncoder, embed, embeddings_of
from ..hub import checksums, fetch, hub_id, read_manifest
from .heard import describe_training
from .memory_bank import MINIMUM_CLIPS, MemoryBank, build_memory_bank, make_backend


FORMAT_VERSION = 1
SCORE_FEATURES = Features(
    {
        "anomaly_score": Value("float64"),
        "p_value": Value("float64"),
        "is_anomaly": Value("bool"),
        "nearest_clip_id": Value("string"),
    }
)


@dataclass
class DetectorConfig:
    """How clips are turned into embeddings and compared with normal ones."""

    backend: str | None = field(
        default=None,
        metadata={
            "help": "'neighbours' (the default with an encoder) or 'deviations' (the default with spectral statistics)"
        },
    )
    num_neighbours: int = field(default=1, metadata={"help": "nearest neighbours averaged into a score"})
    density_neighbours: int = field(
        default=4, metadata={"help": "neighbours of a reference that make its local density; 0 switches it off"}
    )
    false_alarm_rate: float = field(
        default=0.05, metadata={"help": "accepted share of false alarms among normal clips"}
    )
    pooling: str = field(
        default="mean", metadata={"help": "how an encoder's tokens become one embedding: mean, cls, bands"}
    )
    layer: int | None = field(
        default=None,
        metadata={"help": "an encoder's block to look at, from 1 or back from -1; by default its last output"},
    )
    statistics: str = field(
        default="quantiles",
        metadata={"help": "without an encoder: quantiles or mean of each band's log energy over time"},
    )
    channel: int | str = field(default=0, metadata={"help": "channel of several, counted from 0, or 'mean'"})

    def __post_init__(self):
        if self.backend not in (None, *MINIMUM_CLIPS):
            raise ValueError(f"backend is {self.backend!r}; accepted are {', '.join(MINIMUM_CLIPS)}.")
        if self.num_neighbours < 1 or self.density_neighbours < 0:
            raise ValueError(
                f"num_neighbours is {self.num_neighbours} (accepted: 1 or more), "
                f"density_neighbours is {self.density_neighbours} (accepted: 0 or more)."
            )
        if not 0 < self.false_alarm_rate < 1:
            raise ValueError(
                f"false_alarm_rate is {self.false_alarm_rate}; accepted is a share between 0 and 1, for example 0.05."
            )


class AnomalyDetector:
    """
    Hears whether a machine sounds unlike it did when it was healthy.

    Args:
        encoder ([`SpectralStatistics`] or [`TransformerEncoder`], *optional*, defaults to [`SpectralStatistics`]):
            what turns clips into embeddings.
        config ([`DetectorConfig`], *optional*): how embeddings are compared.
        machines (`dict[str, MemoryBank]`, *optional*): what [`~AnomalyDetector.fit`] learned, by machine.

    Example:

    ```python
    >>> from hf_asd import AnomalyDetector, load_folder

    >>> detector = AnomalyDetector().fit(load_folder("my_fan/"))
    >>> detector("new/monday.wav")
    {'anomaly_score': 7.9, 'p_value': 0.016, 'is_anomaly': True, 'nearest_clip_id': 'my_fan/07.wav', 'threshold': 3.1}
    ```
    """

    def __init__(
        self,
        encoder: SpectralStatistics | TransformerEncoder | None = None,
        config: DetectorConfig | None = None,
        machines: dict[str, MemoryBank] | None = None,
    ):
        self.config = config or DetectorConfig()
        self.encoder = encoder or SpectralStatistics(self.config.statistics)
        self.machines = machines or {}
        # For the card: by machine what it was fitted on, and the id of the encoder on the Hub.
        self.heard, self.base_model = {}, None
        self.bank_dtype = torch.float32  # of the embeddings on disk

    @classmethod
    def from_encoder(cls, encoder: str | Path | None, **config) -> "AnomalyDetector":
        """
        A detector that has not heard any machine yet.

        Args:
            encoder (`str` or `Path`, *optional*): a pretrained encoder's id on the Hub or its folder; `None` for
                spectral statistics, which need no weights.
            config: fields of [`DetectorConfig`].
        """
        config = DetectorConfig(**config)
        if encoder is None:
            if config.layer is not None:
                raise ValueError(f"layer is {config.layer}, but spectral statistics have no layers; give an encoder.")
            return cls(None, config)
        detector = cls(TransformerEncoder.from_pretrained(encoder, config.pooling, layer=config.layer), config)
        detector.base_model = hub_id(encoder)
        return detector

    @property
    def backend(self) -> str:
        """`"neighbours"` or `"deviations"`."""
        return self.config.backend or ("deviations" if isinstance(self.encoder, SpectralStatistics) else "neighbours")

    def fit(self, dataset: Dataset | DatasetDict, output_dir: str | Path | None = None) -> "AnomalyDetector":
        """
        Learns every machine of a dataset from its normal clips; trains nothing.

        Args:
            dataset (`datasets.Dataset` or `datasets.DatasetDict`): normal training clips (of a `DatasetDict` the split
                `train`). An `embedding` column is used where there is one.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to go on after an interruption.

        Returns:
            the detector itself.

        Raises:
            BadAudioError: a recording cannot be used.
            ValueError: clips known to be anomalous, or too few clips of a machine.
        """
        rows = dataset["train"] if isinstance(dataset, DatasetDict) else dataset
        anomalies = sum(condition == "anomaly" for condition in rows["condition"])
        if anomalies:
            raise ValueError(
                f"{anomalies} of {len(rows)} training clips are marked as anomalies; fit takes normal clips only."
            )
        rows = self._embedded(rows, output_dir)
        self.heard = describe_training(rows)
        names = np.array(rows["machine"][:])
        self.machines = {}
        for machine in sorted(set(names.tolist())):
            own = rows.select(np.flatnonzero(names == machine))
            self.machines[machine] = build_memory_bank(
                own,
                self.backend,
                self.config.num_neighbours,
                self.config.density_neighbours,
                self.config.false_alarm_rate,
            )
        return self

    def score(self, dataset: Dataset, output_dir: str | Path | None = None) -> Dataset:
        """
        Scores every clip of a dataset, each by itself.

        Args:
            dataset (`datasets.Dataset`): rows of the schema; only `audio` (or `embedding`) and `machine` are read.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to go on after an interruption.

        Returns:
            `datasets.Dataset`: the rows with `anomaly_score` (float64, higher is more anomalous), `p_value` (float64),
            `is_anomaly` (bool) and `nearest_clip_id` (string, the most similar normal clip).

        Raises:
            BadAudioError: a recording cannot be used.
            ValueError: a machine that the detector has not heard. A detector of one machine takes every clip for it.
        """
        names = np.array([self._known(machine) for machine in dataset["machine"]], dtype=object)
        rows = self._embedded(dataset, output_dir)
        vectors = embeddings_of(rows)
        columns = {name: np.empty(len(rows), dtype=object) for name in SCORE_FEATURES}
        for machine in set(names.tolist()):
            chosen = np.flatnonzero(names == machine)
            for name, values in self.machines[machine].score(vectors[chosen]).items():
                columns[name][chosen] = values
        plain = {name: values.tolist() for name, values in columns.items()}
        return concatenate_datasets([rows, Dataset.from_dict(plain, features=SCORE_FEATURES)], axis=1)

    def __call__(
        self, audio: str | Path | bytes | np.ndarray, sampling_rate: int | None = None, machine: str | None = None
    ) -> dict:
        """
        Decides about one recording.

        Args:
            audio (`str`, `Path`, `bytes` or `np.ndarray`): a file, a file's content, or mono samples of shape
                `(samples,)` with full scale at 1.
            sampling_rate (`int`, *optional*): rate of the samples in Hz; needed with an array.
            machine (`str`, *optional*): which machine it is; needed when the detector knows several.

        Returns:
            `dict`: `anomaly_score`, `p_value`, `is_anomaly`, `nearest_clip_id` and `threshold`.

        Raises:
            BadAudioError: the recording cannot be used.
            ValueError: the machine is not known, or an array comes without its rate.
        """
        return self.decide([self.read(audio, sampling_rate)], [machine])[0]

    def read(self, audio: str | Path | bytes | np.ndarray, sampling_rate: int | None = None) -> np.ndarray:
        """One recording as the encoder takes it: float32 of shape `(samples,)`, 16 kHz. Args as for a call."""
        if isinstance(audio, bytes):
            return read_audio({"path": None, "bytes": audio}, channel=self.config.channel)
        if not isinstance(audio, np.ndarray):
            return read_audio(audio, channel=self.config.channel)
        if sampling_rate is None:
            raise ValueError("sampling_rate is missing; samples in an array come with their rate in Hz.")
        if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
            raise ValueError(
                f"the array has the shape {audio.shape} and dtype {audio.dtype}; accepted are mono samples of shape "
                "(samples,) as floats with full scale at 1 (16-bit samples divided by 32768)."
            )
        return soxr.resample(audio.astype(np.float32), sampling_rate, SAMPLING_RATE)

    def decide(self, clips: list[np.ndarray], machines: list[str | None]) -> list[dict]:
        """
        Decides about samples that [`~AnomalyDetector.read`] gave, one dictionary a clip as of a call.

        Args:
            clips (`list[np.ndarray]`): each of shape `(samples,)`, float32, 16 kHz.
            machines (`list[str]`): which machine each is; `None` where the detector knows one.
        """
        banks = [self.machines[self._known(machine)] for machine in machines]
        embeddings = torch.from_numpy(self.encoder(clips))
        return [
            {name: values.tolist()[0] for name, values in bank.score(embedding[None]).items()}
            | {"threshold": bank.threshold}
            for bank, embedding in zip(banks, embeddings, strict=True)
        ]

    @property
    def device(self) -> torch.device:
        """Where the encoder computes; memory banks stay on the CPU."""
        return self.encoder.model.device if isinstance(self.encoder, TransformerEncoder) else torch.device("cpu")

    def to(self, device: str | torch.device) -> "AnomalyDetector":
        """Moves the encoder to a device; spectral statistics stay on the CPU."""
        if isinstance(self.encoder, TransformerEncoder):
            self.encoder.model.to(device)
        return self

    def save_pretrained(self, folder: str | Path) -> Path:
        """
        Writes the whole detector: encoder, memory banks, normal scores and thresholds, as safetensors and JSON.

        Args:
            folder (`str` or `Path`): made where it does not exist.

        Returns:
            `Path`: the folder.

        Raises:
            ValueError: nothing was fitted yet.
        """
        if not self.machines:
            raise ValueError("The detector has not heard any machine yet; call fit with normal recordings first.")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors, machines = {}, {}
        for machine, bank in self.machines.items():
            machines[machine] = {
                "threshold": bank.threshold,
                "false_alarm_rate": bank.false_alarm_rate,
                "clip_ids": bank.clip_ids,
            }
            tensors[f"{machine}/normal_scores"] = torch.from_numpy(bank.normal_scores)
            for domain, embeddings in bank.embeddings.items():
                tensors[f"{machine}/{domain}"] = embeddings.to(self.bank_dtype).contiguous()
        config = asdict(self.config)
        if isinstance(self.encoder, TransformerEncoder):
            self.encoder.save_pretrained(folder / "encoder")
            # Counted from the front: the encoder is saved without the blocks behind it.
            config["layer"] = self.encoder.layer
        save_file(tensors, folder / "memory_bank.safetensors.partial")
        os.replace(folder / "memory_bank.safetensors.partial", folder / "memory_bank.safetensors")
        # Tells transformers' pipeline what this is; all the rest is in detector.json.
        (folder / "config.json").write_text(json.dumps({"model_type": "anomaly_detector"}), encoding="utf-8")
        content = {
            "format_version": FORMAT_VERSION,
            "encoder": "encoder" if isinstance(self.encoder, TransformerEncoder) else None,
            "config": config,
            "machines": machines,
            "heard": self.heard,
            "base_model": self.base_model,
            "files": checksums(folder),
        }
        # Last, because it is what from_pretrained looks for.
        (folder / "detector.json.partial").write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(folder / "detector.json.partial", folder / "detector.json")
        return folder

    @classmethod
    def from_pretrained(
        cls, detector: str | Path, revision: str | None = None, token: str | None = None, **download
    ) -> "AnomalyDetector":
        """
        Loads a detector that [`~AnomalyDetector.save_pretrained`] wrote; it gives the same scores to the last bit.

        Args:
            detector (`str` or `Path`): its folder, or its id on the Hub.
            revision (`str`, *optional*): branch, tag or commit on the Hub.
            token (`str`, *optional*): of the Hub; defaults to the one you are logged in with.
            download: further options of `huggingface_hub.snapshot_download`, such as `cache_dir` or `force_download`.

        Raises:
            FileNotFoundError: there is no such folder, or it holds no detector.
            HubError: the Hub refuses, cannot be reached, or holds something else there.
            ValueError: a file is missing, truncated or changed, the memory bank does not fit the encoder, or it was
                written in a format that this version does not know.
        """
        folder = fetch(detector, revision, token, **download)
        content = read_manifest(folder, FORMAT_VERSION)
        config = DetectorConfig(**content["config"])
        encoder = None
        if content["encoder"] is not None:
            encoder = TransformerEncoder.from_pretrained(
                folder / content["encoder"], config.pooling, layer=config.layer
            )
        detector = cls(encoder, config)
        detector.heard, detector.base_model = content["heard"], content["base_model"]
        tensors = load_file(folder / "memory_bank.safetensors")
        for machine, told in content["machines"].items():
            embeddings = {domain: tensors[f"{machine}/{domain}"].float() for domain in told["clip_ids"]}
            detector.bank_dtype = tensors[f"{machine}/{next(iter(embeddings))}"].dtype
            for domain, bank in embeddings.items():
                expected = (len(told["clip_ids"][domain]), detector.encoder.dimensions)
                if bank.shape != expected:
                    raise ValueError(
                        f"{folder}: the memory bank of {machine}, {domain} domain, has the shape {tuple(bank.shape)}, "
                        f"but the encoder and the listed clips make {expected}. The files are of different detectors."
                    )
            detector.machines[machine] = MemoryBank(
                embeddings=embeddings,
                clip_ids=told["clip_ids"],
                backends={
                    domain: make_backend(detector.backend, bank, config.num_neighbours, config.density_neighbours)
                    for domain, bank in embeddings.items()
                },
                normal_scores=tensors[f"{machine}/normal_scores"].numpy(),
                threshold=told["threshold"],
                false_alarm_rate=told["false_alarm_rate"],
            )
        return detector

    def push_to_hub(
        self,
        repo_id: str,
        *,
        scored: Dataset | None = None,
        year: int = 2025,
        **options,
    ) -> str:
        """
        Publishes the whole detector with its card, in one commit. What `save_pretrained` wrote and a recipe filled
        with scores is published by [`~hf_asd.card.push_detector`] (`hf-asd push`).

        Args:
            repo_id (`str`): `"ORG/NAME"`, as for [`~hf_asd.card.push_detector`].
            scored (`datasets.Dataset`, *optional*): what [`~AnomalyDetector.score`] made of labelled test clips; the
                card tells its official scores, and the scores are published.
            year (`int`, *optional*, defaults to 2025): whose official score, 2020 to 2026.
            options: `license`, `dataset`, `private`, `revision`, `token` of [`~hf_asd.card.push_detector`].

        Returns:
            `str`: the repository's full id.

        Raises:
            HubError: the Hub refuses or cannot be reached, or the repository holds something else.
            ValueError: nothing was fitted yet, or the test clips lack labels.
        """
        from ..card import push_detector, record_evaluation

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if scored is not None:
                record_evaluation(folder, scored, year)
            return push_detector(folder, repo_id, **options)

    def _embedded(self, rows: Dataset, output_dir: str | Path | None) -> Dataset:
        if "embedding" in rows.column_names:
            return rows
        return embed(rows, self.encoder, output_dir, self.config.channel)

    def _known(self, machine: str | None) -> str:
        if not self.machines:
            raise ValueError("The detector has not heard any machine yet; call fit with normal recordings first.")
        if len(self.machines) == 1:
            return next(iter(self.machines))
        if machine not in self.machines:
            raise ValueError(f"machine is {machine!r}; this detector knows {', '.join(self.machines)}.")
        return machine
