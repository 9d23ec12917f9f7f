from .configuration_attribute_classifier import AttributeClassifierConfig
from .modeling_attribute_classifier import ArcFaceHead, AttributeClassifier


__all__ = ["ArcFaceHead", "AttributeClassifier", "AttributeClassifierConfig"]
