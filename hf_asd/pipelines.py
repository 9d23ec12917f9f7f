"""The transformers pipeline `"anomalous-sound-detection"`: recordings in, decisions out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from datasets.arrow_dataset import Column
from transformers import AutoConfig, Pipeline, PreTrainedConfig
from transformers.pipelines import PIPELINE_REGISTRY


if TYPE_CHECKING:
    from .detection.detector import AnomalyDetector


TASK = "anomalous-sound-detection"
NOT_GIVEN = object()  # None is a value of window_seconds
URL_PREFIXES = ("http://", "https://")


class AnomalyDetectorConfig(PreTrainedConfig):
    """Lets `pipeline(model=...)` recognize a detector's repository; its settings are in `detector.json`."""

    model_type = "anomaly_detector"


class DetectorLoader:
    """In the place where a pipeline expects a model class: loads an [`AnomalyDetector`]."""

    @classmethod
    def from_pretrained(cls, detector: str, revision: str | None = None, token: str | None = None, **others):
        # Others are options of transformers models, such as dtype; a detector keeps those it was fitted with.
        from .detection.detector import AnomalyDetector

        return AnomalyDetector.from_pretrained(detector, revision=revision, token=token)


class AnomalousSoundDetectionPipeline(Pipeline):
    """
    Decides about recordings.

    Args:
        model ([`AnomalyDetector`] or `str`): a fitted detector, its folder, or its id on the Hub.
        kwargs: of `transformers.Pipeline`. `batch_size` clips share a forward pass where they are equally long.

    Example:

    ```python
    >>> import hf_asd
    >>> from transformers import pipeline

    >>> detect = pipeline("anomalous-sound-detection", model="me/asd-my-fan")
    >>> detect(["monday.wav", "tuesday.wav"], batch_size=8)
    [{'machine': 'my_fan', 'anomaly_score': 2.4, 'z_score': 1.1, ..., 'is_anomaly': False, ...}, ...]
    ```
    """

    _load_processor = _load_image_processor = _load_video_processor = False
    _load_feature_extractor = _load_tokenizer = False

    def __init__(self, model: Any, device=None, **kwargs):
        if isinstance(model, str | Path):
            model = DetectorLoader.from_pretrained(str(model))
        if device is not None:
            model.to(device)
        super().__init__(model=model, device=model.device, **kwargs)
        # The same as self.model, which the base class declares as a model of transformers.
        self.detector: AnomalyDetector = model

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {', '.join(self.detector.machines)} on {self.device}"

    def _sanitize_parameters(
        self, machine=None, sampling_rate=None, allow_urls=None, explain=None, window_seconds=NOT_GIVEN
    ):
        given = {"machine": machine, "sampling_rate": sampling_rate, "allow_urls": allow_urls}
        given = {name: value for name, value in given.items() if value is not None}
        decide = {} if explain is None else {"explain": explain}
        return given, decide if window_seconds is NOT_GIVEN else decide | {"window_seconds": window_seconds}, {}

    def __call__(self, inputs, **kwargs):
        """
        Args:
            inputs (`str`, `Path`, `bytes`, `BinaryIO`, `np.ndarray`, `torch.Tensor`, `dict`, or a list, generator or
                dataset of them): a file, a file's content, an open binary file, mono samples of shape `(samples,)`
                with full scale at 1, or a dictionary with `array` (or `raw`) and `sampling_rate`, or with `path` or
                `bytes`, and where wanted `machine`. Of a `datasets.Dataset` the columns `audio` and `machine` are
                read.
            machine (`str`, *optional*): which machine it is; needed when the detector knows several.
            sampling_rate (`int`, *optional*): rate of samples in Hz; needed with arrays.
            allow_urls (`bool`, *optional*, defaults to `False`): whether `http(s)://` addresses are fetched.
            explain (`bool`, *optional*, defaults to `False`): give `reasons`.
            window_seconds (`float`, `"auto"` or `None`, *optional*, defaults to `"auto"`): as for
                [`~hf_asd.AnomalyDetector.score`].
            batch_size (`int`, *optional*, defaults to 1): recordings a forward pass.

        Returns:
            `dict`, or a list or generator of them: the fields of [`~hf_asd.detection.decision.Decision`].

        Raises:
            BadAudioError: a recording cannot be used.
            TypeError: something that is none of the accepted inputs.
            ValueError: the machine is not known, an array comes without its rate, or an address that was not allowed.
        """
        if isinstance(inputs, Dataset | Column):
            inputs = (row for row in inputs)  # transformers accepts datasets of torch only
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs, machine=None, sampling_rate=None, allow_urls=False):
        if isinstance(inputs, dict):
            machine = inputs.get("machine", machine)
            inputs = inputs.get("audio", inputs)
            samples = inputs.get("array", inputs.get("raw"))
            if samples is not None:
                sampling_rate = inputs.get("sampling_rate", sampling_rate)
                inputs = samples
            else:
                inputs = inputs.get("bytes") or inputs.get("path")
        if isinstance(inputs, str) and inputs.lower().startswith(URL_PREFIXES):
            if not allow_urls:
                raise ValueError(
                    f"{inputs} is a network address; nothing is fetched without being asked. Give a file, or "
                    "allow_urls=True."
                )
            inputs = _download(inputs)
        return {"recording": (inputs, sampling_rate, machine)}

    def _forward(self, model_inputs, **decide):
        return next(self.detector.decide_recordings([model_inputs["recording"]], **decide)).to_dict()

    def postprocess(self, model_outputs):
        return model_outputs

    def get_iterator(self, inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params):
        # That of transformers pads; here only clips of one length share a forward pass.
        recordings = (self.preprocess(one, **preprocess_params)["recording"] for one in inputs)
        for decision in self.detector.decide_recordings(recordings, batch_size=batch_size, **forward_params):
            yield decision.to_dict()


def _download(address: str) -> bytes:
    from huggingface_hub import get_session

    response = get_session().get(address, follow_redirects=True, timeout=60)
    response.raise_for_status()
    return response.content


AutoConfig.register(AnomalyDetectorConfig.model_type, AnomalyDetectorConfig, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=AnomalousSoundDetectionPipeline, pt_model=DetectorLoader, type="audio"
)
