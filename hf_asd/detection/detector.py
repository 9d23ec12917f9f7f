"""The detector: an encoder, a memory bank a machine, and a threshold that travels with them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soxr
import torch
from datasets import Dataset, DatasetDict, Features, List, Value

from ..audio.reading import SAMPLING_RATE, clipped_share, read_with_clipping
from ..data.schema import side_by_side
from ..embedding import SpectralStatistics, TransformerEncoder, embed, get_embeddings
from ..hub.transfer import hub_id, resolve_detector
from .config import DetectorConfig
from .explanation.normal_profile import NormalProfile, fit_profiles
from .explanation.reasons import check_and_explain
from .explanation.score_map import score_map
from .memory_bank import SCORE_FEATURES, MemoryBank, build_memory_bank
from .persistence import load_detector, save_detector
from .training_summary import summarize_training


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
    {'anomaly_score': 7.9, 'z_score': 6.2, 'p_value': 0.016, 'is_anomaly': True, 'nearest_clip_id': ..., ...}
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
        self.encoder = encoder or SpectralStatistics(self.config.statistics or "quantiles")
        self.machines = machines or {}
        self.profiles = profiles or {}
        # For the card: by machine what it was fitted on, and the id of the encoder on the Hub.
        self.training_summary, self.base_model = {}, None
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
            if config.with_statistics:
                raise ValueError("with_statistics puts spectral statistics beside an encoder; give an encoder.")
            return cls(None, config)
        detector = cls(config.load_encoder(encoder), config)
        detector.base_model = hub_id(encoder)
        return detector

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
        self.training_summary = summarize_training(rows)
        names = np.array(rows["machine"][:])
        self.machines = {}
        for machine in sorted(set(names.tolist())):
            own = rows.select(np.flatnonzero(names == machine))
            self.machines[machine] = build_memory_bank(own, self.config)
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
            check_input (`bool`, *optional*, defaults to `False`): adds `abstain_reason` (string, `None` for a usable
                recording), see [`~hf_asd.detection.explanation.input_checks.check_input`]; then `is_anomaly` is `None`. A
                challenge wants a decision about every clip, a plant does not.
            explain (`bool`, *optional*, defaults to `False`): adds `reasons` (list of strings), see
                [`~hf_asd.detection.explanation.reasons.explain`]. Both need `audio`.

        Returns:
            `datasets.Dataset`: the rows with `anomaly_score` (float64, higher is more anomalous), `z_score` (float64,
            comparable between machines), `p_value` (float64), `is_anomaly` (bool), `nearest_clip_id` (string, the most
            similar normal clip) and `nearest_clip_ids` (list of strings, the three most similar).

        Raises:
            BadAudioError: a recording cannot be used.
            ValueError: a machine that the detector has not heard. A detector of one machine takes every clip for it.
        """
        names = np.array([self.known_machine(machine) for machine in dataset["machine"]], dtype=object)
        rows = self._embedded(dataset, output_dir, allow_silence=check_input)
        vectors = get_embeddings(rows)
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
                told.append(
                    check_and_explain(samples, clipped, self.profiles.get(name), plain["is_anomaly"][row], explain)
                )
            if check_input:
                features["abstain_reason"] = Value("string")
                plain["abstain_reason"] = [abstain_reason for abstain_reason, _ in told]
                decisions = zip(plain["is_anomaly"], plain["abstain_reason"], strict=True)
                plain["is_anomaly"] = [
                    decision if abstain_reason is None else None for decision, abstain_reason in decisions
                ]
            if explain:
                features["reasons"] = List(Value("string"))
                plain["reasons"] = [[reason["text"] for reason in reasons] for _, reasons in told]
        return side_by_side(rows, Dataset.from_dict(plain, features=features))

    def __call__(
        self,
        audio: str | Path | bytes | np.ndarray,
        sampling_rate: int | None = None,
        machine: str | None = None,
        explain: bool = False,
    ) -> dict:
        """
        Decides about one recording, or abstains where it says nothing about the machine.

        Args:
            audio (`str`, `Path`, `bytes` or `np.ndarray`): a file, a file's content, or mono samples of shape
                `(samples,)` with full scale at 1.
            sampling_rate (`int`, *optional*): rate of the samples in Hz; needed with an array.
            machine (`str`, *optional*): which machine it is; needed when the detector knows several.
            explain (`bool`, *optional*, defaults to `False`): adds `reasons`.

        Returns:
            `dict`: the columns of [`~AnomalyDetector.score`], `threshold`, `abstain_reason` and, with `explain`, `reasons`
            ([`~hf_asd.detection.explanation.reasons.explain`]). `abstain_reason` says why the recording is unfit (see
            [`~hf_asd.detection.explanation.input_checks.check_input`]), and then `is_anomaly` is `None`; it is `None` for a
            usable one.

        Raises:
            BadAudioError: the recording cannot be used.
            ValueError: the machine is not known, or an array comes without its rate.
        """
        return self.decide([self.read(audio, sampling_rate)], [machine], explain)[0]

    def read(
        self, audio: str | Path | bytes | np.ndarray, sampling_rate: int | None = None
    ) -> tuple[np.ndarray, float]:
        """
        One recording as decisions need it. Args as for a call.

        Returns:
            `tuple[np.ndarray, float]`: samples of shape `(samples,)`, float32, 16 kHz, and the share of samples that
            were clipped when it was recorded ([`~hf_asd.audio.reading.clipped_share`]).
        """
        if isinstance(audio, bytes):
            audio = {"path": None, "bytes": audio}
        if not isinstance(audio, np.ndarray):
            return read_with_clipping(audio, channel=self.config.channel)
        if sampling_rate is None:
            raise ValueError("sampling_rate is missing; samples in an array come with their rate in Hz.")
        if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
            raise ValueError(
                f"the array has the shape {audio.shape} and dtype {audio.dtype}; accepted are mono samples of shape "
                "(samples,) as floats with full scale at 1 (16-bit samples divided by 32768)."
            )
        return soxr.resample(audio.astype(np.float32), sampling_rate, SAMPLING_RATE), clipped_share(audio)

    def decide(
        self, recordings: list[tuple[np.ndarray, float]], machines: list[str | None], explain: bool = False
    ) -> list[dict]:
        """
        Decides about several recordings, those of one length in one forward pass.

        Args:
            recordings (`list[tuple[np.ndarray, float]]`): what [`~AnomalyDetector.read`] gave.
            machines (`list[str]`): which machine each is; `None` where the detector knows one.
            explain (`bool`, *optional*, defaults to `False`): adds `reasons`.

        Returns:
            `list[dict]`: one a recording, as of a call.
        """
        names = [self.known_machine(machine) for machine in machines]
        embeddings = torch.from_numpy(self.encoder([samples for samples, _ in recordings]))
        results = []
        for name, (samples, clipped), embedding in zip(names, recordings, embeddings, strict=True):
            bank = self.machines[name]
            result = {column: values.tolist()[0] for column, values in bank.score(embedding[None]).items()}
            result["threshold"] = bank.threshold
            profile = self.profiles.get(name)
            result["abstain_reason"], reasons = check_and_explain(
                samples, clipped, profile, result["is_anomaly"], explain
            )
            if result["abstain_reason"] is not None:
                result["is_anomaly"] = None
            results.append(result | ({"reasons": reasons} if explain else {}))
        return results

    def score_map(
        self, audio: str | Path | np.ndarray, sampling_rate: int | None = None, machine: str | None = None
    ) -> np.ndarray:
        """
        Where in time and frequency a recording differs from the normal ones; see [`~detection.score_map.score_map`].

        Args:
            audio, sampling_rate, machine: as for calling the detector.

        Returns:
            `np.ndarray` of shape `(times, bands)`, float32.

        Raises:
            BadAudioError: the recording cannot be used.
            ValueError: the machine is not known, or the embedding has no map.
        """
        bank = torch.cat(list(self.machines[self.known_machine(machine)].embeddings.values()))
        return score_map(self.encoder, self.read(audio, sampling_rate)[0], bank)

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
        return save_detector(self, Path(folder))

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
        return load_detector(cls, resolve_detector(detector, revision, token, **download))

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
        with scores is published by [`~hf_asd.hub.model_card.push_detector`] (`hf-asd push`).

        Args:
            repo_id (`str`): `"ORG/NAME"`, as for [`~hf_asd.hub.model_card.push_detector`].
            scored (`datasets.Dataset`, *optional*): what [`~AnomalyDetector.score`] made of labeled test clips; the
                card tells its official scores, and the scores are published.
            year (`int`, *optional*, defaults to 2025): whose official score, 2020 to 2026.
            options: `license`, `dataset`, `private`, `revision`, `token` of [`~hf_asd.hub.model_card.push_detector`].

        Returns:
            `str`: the repository's full id.

        Raises:
            HubError: the Hub refuses or cannot be reached, or the repository holds something else.
            ValueError: nothing was fitted yet, or the test clips lack labels.
        """
        from ..hub.model_card import push_detector, record_evaluation

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if scored is not None:
                record_evaluation(folder, scored, year)
            return push_detector(folder, repo_id, **options)

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
