from .configuration_eat import EatConfig
from .feature_extraction_eat import EatFeatureExtractor
from .modeling_eat import EatModel
from .pretraining_eat import EatForPreTraining


__all__ = ["EatConfig", "EatFeatureExtractor", "EatForPreTraining", "EatModel"]
