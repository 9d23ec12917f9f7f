"""The small encoder that comes with the package; its weights are in this folder, its card is README.md."""

from pathlib import Path


BUNDLED_ENCODER = Path(__file__).parent
