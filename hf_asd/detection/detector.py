"""The detector: an encoder, a memory bank a machine, and a threshold that is saved with them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from datasets import Dataset, DatasetDict

from ..audio.reading import DecodedClip, OnBadAudio, read_sound
from ..data.dcase.years import DEFAULT_YEAR
from ..embedding.embed import Encoder, Visit
from ..hub.model_card import push_detector_folder, record_evaluation
from ..hub.transfer import resolve_detector
from ..models.choices import PrecisionName
from ..options import check_word
from .choosing import choose_encoder
from .config import DetectorConfig
from .decision import Decision
from .explanation.normal_profile import NormalProfile
from .explanation.score_map import score_map
from .heard_clips import HeardClips
from .learning import Hearing, add_to_detector, fit_detector, forget_sessions, keep_last_sessions
from .long_recordings import WindowSeconds
from .memory_bank import MemoryBank, at_rate
from .persistence import load_detector, save_detector
from .scoring import GivenRecording, decide_recordings, score_dataset
from .training_clips.findings import TrainingFindings
from .verdicts import Verdict


if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..plotting.style import ThemeName

logger = logging.getLogger(__name__)

AnyAudio = str | Path | bytes | BinaryIO | np.ndarray | torch.Tensor | Sequence[float]


class AnomalyDetector:
    """
    Decides whether a machine sounds different from its normal recordings.

    Args:
        encoder (`str`, `Path`, [`SpectralStatistics`] or [`TransformerEncoder`], *optional*): how clips become
            embeddings: an encoder's folder or its id on the Hub; a loaded encoder; `"bundled"` for the small encoder
            of the package, beside spectral statistics; by default spectral statistics alone, which need no weights.
        config ([`DetectorConfig`], *optional*): how embeddings are made and compared.

    Raises:
        ValueError: an option is given that this encoder does not use.
        OSError: there is no such encoder.

    Attributes:
        machines (`dict[str, MemoryBank]`): what [`~AnomalyDetector.fit`] learned, by machine.
        profiles (`dict[str, NormalProfile]`): the acoustic features of normal clips, by machine; decisions need none
            of them, reasons and the checks of recordings do.
        findings (`dict[str, TrainingFindings]`): what stood out among the normal recordings when it was fitted, by
            machine; not saved.
        heard ([`~hf_asd.detection.heard_clips.HeardClips`], *optional*): what [`~AnomalyDetector.add`] needs of the
            normal recordings; `None` where it was fitted to embeddings, or is compact.
        verdicts (`list[Verdict]`): what people found out about recordings
            ([`~hf_asd.detection.verdicts.give_verdict`]).

    Example:

    ```python
    >>> from hf_asd import AnomalyDetector, load_folder

    >>> detector = AnomalyDetector().fit(load_folder("my_fan/"))
    >>> decision = detector("new/monday.wav")
    >>> decision.is_anomaly, decision.p_value
    (True, 0.016)
    ```
    """

    def __init__(self, encoder: Encoder | str | Path | None = None, config: DetectorConfig | None = None):
        self.encoder: Encoder
        self.encoder, self.config, self.base_model = choose_encoder(encoder, config or DetectorConfig())
        self.machines: dict[str, MemoryBank] = {}
        self.profiles: dict[str, NormalProfile] = {}
        self.training_summary: dict[str, dict] = {}
        self.precision_cosine: float | None = None
        self.findings: dict[str, TrainingFindings] = {}
        self.heard: HeardClips | None = None
        self.verdicts: list[Verdict] = []
        self.bank_dtype = torch.float32  # of the embeddings on disk

    def fit(
        self,
        dataset: Dataset | DatasetDict,
        output_dir: str | Path | None = None,
        with_reasons: bool = True,
        window_seconds: WindowSeconds = "auto",
    ) -> "AnomalyDetector":
        """
        Learns every machine of a dataset from its normal clips; trains nothing.

        Args:
            dataset (`datasets.Dataset` or `datasets.DatasetDict`): normal training clips (of a `DatasetDict` the split
                `train`). An `embedding` column is used where there is one. Without `machine` all clips are of one
                machine; `domain`, `condition` and `clip_id` may be missing as well.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to continue after an
                interruption.
            with_reasons (`bool`, *optional*, defaults to `True`): also keep the acoustic features of normal clips, so
                that the detector can give reasons and refuse unfit recordings. Needs an `audio` column.
            window_seconds (`float`, `"auto"` or `None`, *optional*, defaults to `"auto"`): recordings of at least
                twice this length are cut into windows of this length
                ([`~hf_asd.detection.long_recordings.training_rule`]); the windows of a recording count as one
                recording together. `"auto"` cuts recordings of 60 s or more into windows of 10 s, `None` cuts none.

        Returns:
            the detector itself.

        Raises:
            BadAudioError: recordings cannot be used; names all of them.
            ValueError: clips known to be anomalous, or too few clips of a machine.
        """
        self.fit_recordings(dataset, output_dir=output_dir, with_reasons=with_reasons, window_seconds=window_seconds)
        for machine, found in self.findings.items():
            for line in found.lines():
                logger.warning("%s: %s", machine, line)
        return self

    def fit_recordings(
        self,
        dataset: Dataset | DatasetDict,
        *,
        on_bad_audio: OnBadAudio = "error",
        visit: Visit | None = None,
        output_dir: str | Path | None = None,
        with_reasons: bool = True,
        window_seconds: WindowSeconds = "auto",
    ) -> tuple[Dataset, list[str]]:
        """
        As [`~AnomalyDetector.fit`], for callers that need more than the detector; each recording is decoded once.

        Args:
            dataset, output_dir, with_reasons, window_seconds: as for [`~AnomalyDetector.fit`].
            on_bad_audio (`"error"` or `"skip"`, *optional*, defaults to `"error"`): whether unusable recordings are an
                error or left out.
            visit (`Callable[[int, Window], None]`, *optional*): called with each row number and its recording, or
                with each [`~hf_asd.audio.windows.Window`] of it, in their order, but in another thread.

        Returns:
            `tuple[Dataset, list[str]]`: the usable training clips with `embedding`, a row for each window of a
            recording that was cut ([`~hf_asd.embedding.embed.with_embeddings`]), and messages about what was left out.
        """
        return fit_detector(self, dataset, Hearing(with_reasons, window_seconds, on_bad_audio, visit, output_dir))

    def add(self, dataset: Dataset | DatasetDict) -> "AnomalyDetector":
        """
        Learns from more normal recordings beside those that it knows; only the new ones are heard.

        The detector is then the one of fitting to all at once, to the last bit: to the old recordings, then the new
        ones, in the order of their rows. It does not need the old recordings any more. A new recording with the name
        of an old one gets the day behind its name. (Spectral statistics give the same bits whatever else is embedded;
        the forward passes of another encoder may round differently in batches of other recordings.)

        Args:
            dataset (`datasets.Dataset` or `datasets.DatasetDict`): as for [`~AnomalyDetector.fit`]; long recordings
                are cut as there.

        Returns:
            the detector itself.

        Raises:
            BadAudioError: recordings cannot be used; names all of them.
            ValueError: clips known to be anomalous; or the detector is compact or was fitted to embeddings.
        """
        self.add_recordings(dataset)
        for machine, found in self.findings.items():
            for line in found.lines():
                logger.warning("%s: %s", machine, line)
        return self

    def add_recordings(
        self,
        dataset: Dataset | DatasetDict,
        *,
        on_bad_audio: OnBadAudio = "error",
        visit: Visit | None = None,
    ) -> tuple[Dataset, list[str]]:
        """
        As [`~AnomalyDetector.add`], for callers that need more than the detector.

        Args:
            dataset: as for [`~AnomalyDetector.add`].
            on_bad_audio, visit: as for [`~AnomalyDetector.fit_recordings`].

        Returns:
            `tuple[Dataset, list[str]]`: the new clips that are learned from, with `embedding`, and messages about what
            was left out.
        """
        return add_to_detector(self, dataset, Hearing(on_bad_audio=on_bad_audio, visit=visit))

    def forget(self, *sessions: str, machine: str | None = None) -> "AnomalyDetector":
        """
        Takes out the normal recordings of sessions, as if it had never learned from them.

        Args:
            sessions (`str`): their names.
            machine (`str`, *optional*): of which machine; of all by default.

        Returns:
            the detector itself.

        Raises:
            ValueError: a session that it does not know, nothing would be left, or it is compact.
        """
        forget_sessions(self, sessions, machine)
        return self

    def keep_last(self, count: int, machine: str | None = None) -> "AnomalyDetector":
        """
        Takes out all but the last sessions.

        Args:
            count (`int`): how many are kept: the latest ones where all are named by their days, else those that were
                learned last.
            machine (`str`, *optional*): of which machine; of all by default.

        Returns:
            the detector itself.

        Raises:
            ValueError: `count` is below 1, or the detector is compact.
        """
        keep_last_sessions(self, count, machine)
        return self

    def set_false_alarm_rate(self, false_alarm_rate: float, machine: str | None = None) -> "AnomalyDetector":
        """
        Sets the threshold for another rate of false alarms, as fitting with this rate would; nothing is heard again.

        Args:
            false_alarm_rate (`float`): accepted share of false alarms among normal clips, between 0 and 1.
            machine (`str`, *optional*): the machine whose threshold is set; all by default.

        Returns:
            the detector itself.

        Raises:
            ValueError: the rate is not between 0 and 1, or the detector does not know the machine.
        """
        self._check_fitted()
        if machine is not None and machine not in self.machines:
            raise ValueError(f"machine is {machine!r}; this detector knows {', '.join(self.machines)}.")
        chosen = list(self.machines) if machine is None else [machine]
        self.machines |= {name: at_rate(self.machines[name], false_alarm_rate) for name in chosen}
        if len(chosen) == len(self.machines):
            self.config = replace(self.config, false_alarm_rate=false_alarm_rate)
        return self

    def set_precision(self, precision: PrecisionName) -> "AnomalyDetector":
        """
        Sets the number format in which the encoder computes. Embeddings and scores differ from those of the other
        format by rounding; threshold and memory bank stay.

        Args:
            precision (`"fp32"` or `"bf16"`): see [`~hf_asd.embedding.precision.products_in`].

        Returns:
            the detector itself.

        Raises:
            ValueError: another word, or this detector has no encoder.
        """
        check_word("precision", precision, PrecisionName)
        if not hasattr(self.encoder, "precision"):
            raise ValueError(
                f"precision is {precision!r}, but it would not be used: this detector has spectral statistics alone, "
                "which are computed in float32. Leave it out."
            )
        self.encoder.precision = precision  # type: ignore[attr-defined]
        self.config = replace(self.config, precision=precision)
        return self

    def score(
        self,
        dataset: Dataset,
        output_dir: str | Path | None = None,
        *,
        check_input: bool = True,
        explain: bool = False,
        window_seconds: WindowSeconds = "auto",
    ) -> Dataset:
        """
        Decides about every clip of a dataset, each independently of the others.

        Args:
            dataset (`datasets.Dataset`): rows of the schema; only `audio` (or `embedding`) and `machine` are read,
                which may be missing where the detector knows one machine.
                Rows with an `embedding` column are scored from it; their recordings are not opened, so they are not
                checked.
            output_dir (`str` or `Path`, *optional*): keeps finished embeddings there, to continue after an
                interruption.
            check_input (`bool`, *optional*, defaults to `True`): make no decision about unfit recordings
                ([`~hf_asd.detection.explanation.input_checks.check_input`]). A challenge wants a decision about every
                clip, a plant does not.
            explain (`bool`, *optional*, defaults to `False`): give `reasons`
                ([`~hf_asd.detection.explanation.reasons.explain`]).
            window_seconds (`float`, `"auto"` or `None`, *optional*, defaults to `"auto"`): recordings of at least
                twice this length are judged in windows of this length, with one decision for the whole recording
                ([`~hf_asd.detection.long_recordings.decide_recording`]). `"auto"`: the length of the training clips;
                `None`: whole recordings, as a challenge wants them.

        Returns:
            `datasets.Dataset`: the rows with the fields of [`~hf_asd.detection.decision.Decision`] as columns.
            `machine` is the machine that a clip was compared with: a detector of one machine takes every clip for it.

        Raises:
            BadAudioError: recordings cannot be used; names all of them.
            ValueError: a machine that the detector does not know, or reasons are asked for rows with an `embedding`.
        """
        return self.score_recordings(
            dataset,
            output_dir=output_dir,
            check_input=check_input,
            explain=explain,
            window_seconds=window_seconds,
        )[0]

    def score_recordings(
        self,
        dataset: Dataset,
        *,
        check_input: bool = True,
        explain: bool = False,
        on_bad_audio: OnBadAudio = "error",
        visit: Visit | None = None,
        output_dir: str | Path | None = None,
        window_seconds: WindowSeconds = "auto",
    ) -> tuple[Dataset, list[str]]:
        """
        As [`~AnomalyDetector.score`], for callers that need more than the decisions; each recording is decoded once.

        Args:
            dataset, check_input, explain, output_dir, window_seconds: as for [`~AnomalyDetector.score`].
            on_bad_audio, visit: as for [`~AnomalyDetector.fit_recordings`].

        Returns:
            `tuple[Dataset, list[str]]`: the usable rows with their decisions, and messages about what was left out.
        """
        return score_dataset(
            self,
            dataset,
            check_input=check_input,
            explain=explain,
            on_bad_audio=on_bad_audio,
            visit=visit,
            output_dir=output_dir,
            window_seconds=window_seconds,
        )

    def __call__(
        self,
        audio: AnyAudio,
        sampling_rate: int | None = None,
        machine: str | None = None,
        explain: bool = False,
        window_seconds: WindowSeconds = "auto",
    ) -> Decision:
        """
        Decides about one recording.

        Args:
            audio (`str`, `Path`, `bytes`, `BinaryIO`, `np.ndarray`, `torch.Tensor` or list): a file, a file's content,
                an open binary file, or mono samples of shape `(samples,)` as floats with full scale at 1.
            sampling_rate (`int`, *optional*): rate of the samples in Hz; needed with them.
            machine (`str`, *optional*): which machine it is; needed when the detector knows several.
            explain (`bool`, *optional*, defaults to `False`): give `reasons`.
            window_seconds (`float`, `"auto"` or `None`, *optional*, defaults to `"auto"`): as for
                [`~AnomalyDetector.score`].

        Returns:
            [`~hf_asd.detection.decision.Decision`].

        Raises:
            BadAudioError: the recording cannot be used.
            TypeError: `audio` is none of these.
            ValueError: the machine is not known, samples come without their rate or have another shape or type.
        """
        recordings = [(audio, sampling_rate, machine)]
        return next(self.decide_recordings(recordings, explain=explain, window_seconds=window_seconds))

    def decide_recordings(
        self,
        recordings: Iterable[GivenRecording],
        *,
        explain: bool = False,
        window_seconds: WindowSeconds = "auto",
        batch_size: int = 1,
        visit: Visit | None = None,
    ) -> Iterator[Decision]:
        """
        Decides about recordings one after the other, in bounded memory.

        Args:
            recordings (`Iterable[tuple]`): `audio`, `sampling_rate` and `machine` of each, as for a call.
            explain, window_seconds: as for a call.
            batch_size (`int`, *optional*, defaults to 1): recordings that are decoded together; those of one length
                share a forward pass.
            visit (`Callable[[int, Window], None]`, *optional*): called with the number of each recording and its
                sound, or with each window of it, before it is decided about.

        Yields:
            [`~hf_asd.detection.decision.Decision`]: the same as for each recording alone.
        """
        return decide_recordings(
            self,
            recordings,
            explain=explain,
            window_seconds=window_seconds,
            batch_size=batch_size,
            visit=visit,
        )

    def read(self, audio: AnyAudio, sampling_rate: int | None = None) -> DecodedClip:
        """One recording, decoded as a whole; arguments as for a call."""
        clip = read_sound(audio, sampling_rate, self.config.channel)
        for note in clip.notes:
            logger.warning(note)
        return clip

    def score_map(self, audio: AnyAudio, sampling_rate: int | None = None, machine: str | None = None) -> np.ndarray:
        """
        Where in time and frequency a recording differs from the normal ones; see
        [`~hf_asd.detection.explanation.score_map.score_map`].

        Args:
            audio, sampling_rate, machine: as for calling the detector.

        Returns:
            `np.ndarray` of shape `(times, bands)`, float32.

        Raises:
            BadAudioError: the recording cannot be used.
            ValueError: the machine is not known, or the embedding has no map.
        """
        bank = torch.cat(list(self.machines[self.known_machine(machine)].embeddings.values()))
        return score_map(self.encoder, self.read(audio, sampling_rate).samples, bank)

    def plot(
        self,
        audio: AnyAudio,
        sampling_rate: int | None = None,
        machine: str | None = None,
        *,
        window_seconds: WindowSeconds = "auto",
        theme: "ThemeName" = "light",
    ) -> "Figure":
        """
        Draws a recording: what was decided, its spectrogram with the score map over it and unusual bands marked, and
        its score beside those of the normal clips with the threshold. Of a long recording the worst window.

        Args:
            audio, sampling_rate, machine, window_seconds: as for calling the detector.
            theme (`"light"` or `"dark"`, *optional*, defaults to `"light"`): colors for light or dark pages.

        Returns:
            `matplotlib.figure.Figure`: a notebook shows it; `figure.savefig("clip.png")` writes it.

        Raises:
            BadAudioError, TypeError, ValueError: as for calling the detector.
        """
        from .plots import plot_clip

        return plot_clip(self, audio, sampling_rate, machine, window_seconds, theme)

    def plot_scores(self, scored: Dataset | Sequence[Decision], *, theme: "ThemeName" = "light") -> "Figure":
        """
        Draws scores of recordings beside those of the normal clips with the threshold, a panel a machine.

        Args:
            scored (`datasets.Dataset` or `Sequence[Decision]`): of [`~AnomalyDetector.score`] or of calls. Where
                labels are known (`condition`), normal and anomalous recordings have a row each.
            theme (`"light"` or `"dark"`, *optional*, defaults to `"light"`): as for [`~AnomalyDetector.plot`].

        Returns:
            `matplotlib.figure.Figure`.

        Raises:
            ValueError: the dataset was not scored, or a machine that the detector does not know.
        """
        from .plots import plot_scores

        return plot_scores(self, scored, theme)

    @property
    def embedding_description(self) -> str:
        """How recordings become embeddings, in words for cards and reports."""
        cosine = self.precision_cosine
        loss = "" if cosine is None else f" (cosine distance to embeddings of float32: {1 - cosine:.1g} at most)"
        return f"{self.encoder.description}{loss}"

    @property
    def device(self) -> torch.device:
        """Where the encoder computes; memory banks stay on the CPU."""
        model = getattr(self.encoder, "model", None)
        return torch.device("cpu") if model is None else model.device

    def to(self, device: str | torch.device) -> "AnomalyDetector":
        """Moves the encoder to a device; spectral statistics stay on the CPU."""
        model = getattr(self.encoder, "model", None)
        if model is not None:
            model.to(device)
        return self

    def save_pretrained(self, folder: str | Path) -> Path:
        """
        Writes the whole detector: encoder, memory banks, normal scores and thresholds, as safetensors and JSON.

        Args:
            folder (`str` or `Path`): made where it does not exist. An older detector in it, with its results, is
                replaced as a whole: an interruption leaves the old one or the new one. Other files are kept.

        Returns:
            `Path`: the folder.

        Raises:
            ValueError: nothing was fitted yet, or other files of the folder would be replaced.
            OSError: the disk is full, or the folder cannot be written to; an older detector is unchanged.
        """
        self._check_fitted()
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

    def push_to_hub(self, repo_id: str, *, scored: Dataset | None = None, year: int = DEFAULT_YEAR, **options) -> str:
        """
        Publishes the whole detector with its card, in one commit. A folder that `save_pretrained` wrote is published
        by [`~hf_asd.detection.publishing.push_detector`] (`hf-asd push`).

        Args:
            repo_id (`str`): `"ORG/NAME"`.
            scored (`datasets.Dataset`, *optional*): labeled test clips as [`~AnomalyDetector.score`] returned them;
                the card shows their official scores, and the scores are published.
            year (`int`, *optional*, defaults to 2025): challenge year that defines the score.
            options: `license`, `dataset`, `private`, `revision`, `token` of
                [`~hf_asd.hub.model_card.push_detector_folder`].

        Returns:
            `str`: the repository's full id.

        Raises:
            HubError: the Hub refuses or cannot be reached, or the repository holds something else.
            ValueError: nothing was fitted yet, or the test clips lack labels.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if scored is not None:
                record_evaluation(folder, scored, year)
            return push_detector_folder(folder, repo_id, **options)

    def known_machine(self, machine: str | None = None) -> str:
        """
        The machine that a clip is compared with.

        Args:
            machine (`str`, *optional*): its name; a detector of one machine takes every clip for that one.

        Raises:
            ValueError: nothing was fitted yet, or a machine that the detector does not know.
        """
        self._check_fitted()
        if len(self.machines) == 1:
            return next(iter(self.machines))
        if machine is None or machine not in self.machines:
            raise ValueError(f"machine is {machine!r}; this detector knows {', '.join(self.machines)}.")
        return machine

    def _check_fitted(self) -> None:
        if not self.machines:
            raise ValueError("The detector was not fitted yet; call fit with normal recordings first.")
