from .configuration_beats import BeatsConfig
from .feature_extraction_beats import BeatsFeatureExtractor
from .modeling_beats import BeatsModel


__all__ = ["BeatsConfig", "BeatsFeatureExtractor", "BeatsModel"]
