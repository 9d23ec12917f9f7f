from .configuration_attribute_classifier import AttributeClassifierConfig
from .modeling_attribute_classifier import AttributeClassifier


__all__ = ["AttributeClassifier", "AttributeClassifierConfig"]
