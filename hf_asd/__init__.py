"""Anomalous sound detection with the HuggingFace stack."""

__version__ = "0.1.0"
