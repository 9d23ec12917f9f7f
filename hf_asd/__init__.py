"""
Anomalous sound detection with the HuggingFace stack.

After `import hf_asd`, `AutoConfig`, `AutoModel` and `AutoFeatureExtractor` load this package's models, and `pipeline`
knows `"anomalous-sound-detection"`. Every name is imported when it is first asked for.
"""

from importlib import import_module

from .models.registration import register_all
from .version import __version__ as __version__


_MODULES = {
    "AlarmPolicy": "detection.alarm",
    "AnomalousSoundDetectionPipeline": "pipelines",
    "AnomalyDetector": "detection.detector",
    "AttributeClassifier": "models.attribute_classifier.modeling_attribute_classifier",
    "AttributeClassifierConfig": "models.attribute_classifier.configuration_attribute_classifier",
    "BeatsConfig": "models.beats.configuration_beats",
    "BeatsFeatureExtractor": "models.beats.feature_extraction_beats",
    "BeatsModel": "models.beats.modeling_beats",
    "ClusteringConfig": "clustering.config",
    "DetectorConfig": "detection.config",
    "EatConfig": "models.eat.configuration_eat",
    "EatFeatureExtractor": "models.eat.feature_extraction_eat",
    "EatForPreTraining": "models.eat.pretraining_eat",
    "EatModel": "models.eat.modeling_eat",
    "FinetuneConfig": "training.config",
    "LoraOptions": "training.config",
    "PretrainConfig": "training.config",
    "PretrainingData": "training.config",
    "ScoringConfig": "detection.config",
    "SpectralStatistics": "embedding.statistics",
    "TransformerEncoder": "embedding.transformer",
    "assign_pseudo_attributes": "clustering.pseudo_attributes",
    "embed": "embedding.embed",
    "evaluate_scores": "evaluation.scores",
    "finetune": "training.finetuning",
    "load_dcase": "data.dcase.loading",
    "load_folder": "data.folder",
    "pretrain": "training.pretraining",
    "ReportContent": "reporting.report",
    "write_report": "reporting.report",
}
__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])


register_all()
