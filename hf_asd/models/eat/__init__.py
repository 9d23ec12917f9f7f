from .configuration_eat import EatConfig
from .feature_extraction_eat import EatFeatureExtractor
from .modeling_eat import EatModel


__all__ = ["EatConfig", "EatFeatureExtractor", "EatModel"]
