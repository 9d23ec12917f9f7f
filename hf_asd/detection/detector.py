"""The detector: an encoder, a memory bank a machine, and a threshold that travels with them."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soxr
import torch
from datasets import Dataset, DatasetDict, Features, List, Value, concatenate_datasets
from safetensors.torch import load_file, save_file

from ..data.audio import SAMPLING_RATE, clipped_share, read_with_clipping
from ..description import describe, summarise
from ..embedding import SpectralStatistics, TransformerEncoder, embed, embeddings_of
from .input_checks import reason_to_abstain
from .memory_bank import MINIMUM_CLIPS, MemoryBank, build_memory_bank, make_backend
from .profile import NormalProfile, fit_profiles
from .reasons import give_reasons


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
        metadata={"help": "without an encoder: quantiles or mean of each band's log energy over time, or description"},
    )
    channel: int | str = field(
        default=0,
        metadata={"help": "channel of several from 0, 'mean', 'near-minus-far' or 'spectral-subtraction'"},
    )

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
        profiles (`dict[str, NormalProfile]`, *optional*): what normal clips sound like, by machine; decisions need
            none of it, their reasons and the checks of the input do.

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
        profiles: dict[str, NormalProfile] | None = None,
    ):
        self.config = config or DetectorConfig()
        self.encoder = encoder or SpectralStatistics(self.config.statistics)
        self.machines = machines or {}
        self.profiles = profiles or {}

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
        return cls(TransformerEncoder.from_pretrained(encoder, config.pooling, layer=config.layer), config)

    @property
    def backend(self) -> str:
        """`"neighbours"` or `"deviations"`."""
        return self.config.backend or ("deviations" if isinstance(self.encoder, SpectralStatistics) else "neighbours")

    def fit(
        self, dataset: Dataset | DatasetDict, output_dir: str | Path | None = None, with_reasons: bool = True
    ) -> "AnomalyDetector":
        """
        Learns every machine of a dataset from its normal clips; trains nothing.

        Args:
            dataset (`datasets.Dataset` or `datasets.DatasetDict`): normal training clips (of a `DatasetDict` the split
                `train`). An `embedding` column is used where there is one.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to go on after an interruption.
            with_reasons (`bool`, *optional*, defaults to `True`): also listens to the recordings, so that the detector
                can give reasons and refuse unfit input. Without an `audio` column it cannot.

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
        self.profiles = fit_profiles(rows, self.config.channel) if with_reasons and "audio" in rows.features else {}
        rows = self._embedded(rows, output_dir)
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

    def score(
        self,
        dataset: Dataset,
        output_dir: str | Path | None = None,
        check_input: bool = False,
        explain: bool = False,
    ) -> Dataset:
        """
        Scores every clip of a dataset, each by itself.

        Args:
            dataset (`datasets.Dataset`): rows of the schema; only `audio` (or `embedding`) and `machine` are read.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to go on after an interruption.
            check_input (`bool`, *optional*, defaults to `False`): adds `abstained` (string, `None` for a usable
                recording), see [`~hf_asd.detection.input_checks.reason_to_abstain`]; then `is_anomaly` is `None`. A
                challenge wants a decision about every clip, a plant does not.
            explain (`bool`, *optional*, defaults to `False`): adds `reasons` (list of strings), see
                [`~hf_asd.detection.reasons.give_reasons`]. Both need `audio`.

        Returns:
            `datasets.Dataset`: the rows with `anomaly_score` (float64, higher is more anomalous), `p_value` (float64),
            `is_anomaly` (bool) and `nearest_clip_id` (string, the most similar normal clip).

        Raises:
            BadAudioError: a recording cannot be used.
            ValueError: a machine that the detector has not heard. A detector of one machine takes every clip for it.
        """
        names = np.array([self.known_machine(machine) for machine in dataset["machine"]], dtype=object)
        rows = self._embedded(dataset, output_dir, allow_silence=check_input)
        vectors = embeddings_of(rows)
        columns = {name: np.empty(len(rows), dtype=object) for name in SCORE_FEATURES}
        for machine in set(names.tolist()):
            chosen = np.flatnonzero(names == machine)
            for name, values in self.machines[machine].score(vectors[chosen]).items():
                columns[name][chosen] = values
        plain = {name: values.tolist() for name, values in columns.items()}
        features = Features(SCORE_FEATURES)
        if check_input or explain:
            # A row at a time: recordings need not fit into memory.
            told = []
            for row, name in enumerate(names):
                samples, clipped = read_with_clipping(dataset[row]["audio"], channel=self.config.channel)
                told.append(self._judge(samples, clipped, name, plain["is_anomaly"][row], explain))
            if check_input:
                features["abstained"] = Value("string")
                plain["abstained"] = [abstained for abstained, _ in told]
                decisions = zip(plain["is_anomaly"], plain["abstained"], strict=True)
                plain["is_anomaly"] = [decision if abstained is None else None for decision, abstained in decisions]
            if explain:
                features["reasons"] = List(Value("string"))
                plain["reasons"] = [[reason["text"] for reason in reasons] for _, reasons in told]
        return concatenate_datasets([rows, Dataset.from_dict(plain, features=features)], axis=1)

    def __call__(
        self,
        audio: str | Path | np.ndarray,
        sampling_rate: int | None = None,
        machine: str | None = None,
        explain: bool = False,
    ) -> dict:
        """
        Decides about one recording, or abstains where it says nothing about the machine.

        Args:
            audio (`str`, `Path` or `np.ndarray`): a file, or mono samples of shape `(samples,)` with full scale at 1.
            sampling_rate (`int`, *optional*): rate of the samples in Hz; needed with an array.
            machine (`str`, *optional*): which machine it is; needed when the detector knows several.
            explain (`bool`, *optional*, defaults to `False`): adds `reasons`.

        Returns:
            `dict`: `anomaly_score`, `p_value`, `is_anomaly`, `nearest_clip_id`, `threshold`, `abstained` and, with
            `explain`, `reasons` ([`~hf_asd.detection.reasons.give_reasons`]). `abstained` says why the recording is
            unfit (see [`~hf_asd.detection.input_checks.reason_to_abstain`]), and then `is_anomaly` is `None`; it is
            `None` for a usable one.

        Raises:
            BadAudioError: the recording cannot be used.
            ValueError: the machine is not known, or an array comes without its rate.
        """
        if isinstance(audio, np.ndarray):
            if sampling_rate is None:
                raise ValueError("sampling_rate is missing; samples in an array come with their rate in Hz.")
            samples = soxr.resample(audio.astype(np.float32), sampling_rate, SAMPLING_RATE)
            clipped = clipped_share(audio)
        else:
            samples, clipped = read_with_clipping(audio, channel=self.config.channel)
        machine = self.known_machine(machine)
        bank = self.machines[machine]
        result = bank.score(torch.from_numpy(self.encoder([samples])))
        result = {name: values[:1].tolist()[0] for name, values in result.items()} | {"threshold": bank.threshold}
        result["abstained"], reasons = self._judge(samples, clipped, machine, result["is_anomaly"], explain)
        if result["abstained"] is not None:
            result["is_anomaly"] = None
        return result | ({"reasons": reasons} if explain else {})

    def _judge(
        self, samples: np.ndarray, clipped: float, machine: str, is_anomaly: bool, explain: bool
    ) -> tuple[str | None, list[dict]]:
        """Why to abstain, and the reasons for the decision where they are wanted."""
        profile = self.profiles.get(machine)
        told = describe(samples)
        abstained = reason_to_abstain(samples, clipped, summarise(told), profile)
        if abstained is not None:
            return abstained, [{"kind": "unfit", "text": abstained, "strength": 0.0}]
        return None, give_reasons(told, profile, is_anomaly) if explain else []

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
                tensors[f"{machine}/{domain}"] = embeddings.contiguous()
        if self.profiles:
            sounds = {
                f"{machine}/{name}": torch.from_numpy(values).half()
                for machine, profile in self.profiles.items()
                for name, values in profile.summaries.items()
            }
            save_file(sounds, folder / "normal_sounds.safetensors.partial")
            os.replace(folder / "normal_sounds.safetensors.partial", folder / "normal_sounds.safetensors")
        config = asdict(self.config)
        if isinstance(self.encoder, TransformerEncoder):
            self.encoder.save_pretrained(folder / "encoder")
            # Counted from the front: the encoder is saved without the blocks behind it.
            config["layer"] = self.encoder.layer
        save_file(tensors, folder / "memory_bank.safetensors.partial")
        os.replace(folder / "memory_bank.safetensors.partial", folder / "memory_bank.safetensors")
        content = {
            "format_version": FORMAT_VERSION,
            "encoder": "encoder" if isinstance(self.encoder, TransformerEncoder) else None,
            "config": config,
            "machines": machines,
            "profiles": list(self.profiles),
        }
        # Last, because it is what from_pretrained looks for.
        (folder / "detector.json.partial").write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(folder / "detector.json.partial", folder / "detector.json")
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "AnomalyDetector":
        """
        Loads a detector that [`~AnomalyDetector.save_pretrained`] wrote; it gives the same scores to the last bit.

        Args:
            folder (`str` or `Path`): the folder.

        Raises:
            FileNotFoundError: the folder holds no detector.
            ValueError: it was written in a format that this version does not know.
        """
        folder = Path(folder)
        if not (folder / "detector.json").is_file():
            raise FileNotFoundError(
                f"{folder}: holds no detector.json; give the folder that `hf-asd fit --output` wrote."
            )
        content = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{folder}: has format version {content['format_version']}, this version of hf_asd reads "
                f"{FORMAT_VERSION}; upgrade hf_asd or fit the detector again."
            )
        config = DetectorConfig(**content["config"])
        encoder = None
        if content["encoder"] is not None:
            encoder = TransformerEncoder.from_pretrained(
                folder / content["encoder"], config.pooling, layer=config.layer
            )
        detector = cls(encoder, config)
        tensors = load_file(folder / "memory_bank.safetensors")
        for machine, told in content["machines"].items():
            embeddings = {domain: tensors[f"{machine}/{domain}"] for domain in told["clip_ids"]}
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
        if content["profiles"]:
            sounds = load_file(folder / "normal_sounds.safetensors")
        for machine in content["profiles"]:
            own = {name: values for name, values in sounds.items() if name.rpartition("/")[0] == machine}
            detector.profiles[machine] = NormalProfile(
                {name.rpartition("/")[2]: values.numpy() for name, values in own.items()}
            )
        return detector

    def _embedded(self, rows: Dataset, output_dir: str | Path | None, allow_silence: bool = False) -> Dataset:
        if "embedding" in rows.column_names:
            return rows
        return embed(rows, self.encoder, output_dir, self.config.channel, allow_silence)

    def known_machine(self, machine: str | None = None) -> str:
        """
        The machine that a clip is scored as.

        Args:
            machine (`str`, *optional*): its name; a detector of one machine takes every clip for that one.

        Raises:
            ValueError: nothing was fitted yet, or a machine that the detector has not heard.
        """
        if not self.machines:
            raise ValueError("The detector has not heard any machine yet; call fit with normal recordings first.")
        if len(self.machines) == 1:
            return next(iter(self.machines))
        if machine not in self.machines:
            raise ValueError(f"machine is {machine!r}; this detector knows {', '.join(self.machines)}.")
        return machine
