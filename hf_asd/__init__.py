"""
Anomalous sound detection with the HuggingFace stack.

Importing the package registers its models with `AutoConfig`, `AutoModel` and `AutoFeatureExtractor`.
"""

__version__ = "0.1.0"
