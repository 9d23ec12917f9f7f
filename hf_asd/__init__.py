"""
Anomalous sound detection with the HuggingFace stack.

Importing the package registers its models with `AutoConfig`, `AutoModel` and `AutoFeatureExtractor`, and the pipeline
`"anomalous-sound-detection"`; everything else is imported when it is first asked for.
"""

from importlib import import_module

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from .models.attribute_classifier import AttributeClassifier, AttributeClassifierConfig
from .models.beats import BeatsConfig, BeatsFeatureExtractor, BeatsModel
from .models.eat import EatConfig, EatFeatureExtractor, EatForPreTraining, EatModel
from .pipelines import AnomalousSoundDetectionPipeline


__version__ = "0.1.0"

AutoConfig.register("eat", EatConfig)
AutoModel.register(EatConfig, EatModel)
AutoFeatureExtractor.register(EatConfig, EatFeatureExtractor)
AutoConfig.register("beats", BeatsConfig)
AutoModel.register(BeatsConfig, BeatsModel)
AutoFeatureExtractor.register(BeatsConfig, BeatsFeatureExtractor)
AutoConfig.register("attribute_classifier", AttributeClassifierConfig)
AutoModel.register(AttributeClassifierConfig, AttributeClassifier)

_LAZY = {
    "AnomalyDetector": "detection",
    "ClusteringConfig": "clustering",
    "DetectorConfig": "detection",
    "FinetuneConfig": "finetuning",
    "LoraOptions": "lora",
    "PretrainConfig": "pretraining",
    "PretrainingData": "pretraining",
    "SpectralStatistics": "embedding",
    "TransformerEncoder": "embedding",
    "assign_pseudo_attributes": "clustering",
    "embed": "embedding",
    "evaluate_scores": "evaluation",
    "finetune": "finetuning",
    "load_dcase": "data.dcase",
    "load_folder": "data.folder",
    "pretrain": "pretraining",
    "write_report": "report",
}
__all__ = [
    "AnomalousSoundDetectionPipeline",
    "AttributeClassifier",
    "AttributeClassifierConfig",
    "BeatsConfig",
    "BeatsFeatureExtractor",
    "BeatsModel",
    "EatConfig",
    "EatFeatureExtractor",
    "EatForPreTraining",
    "EatModel",
    *_LAZY,
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
