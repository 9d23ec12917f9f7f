"""The small encoder that comes with the package: its weights lie beside this file, its card is README.md."""

from pathlib import Path


OFFLINE_ENCODER = Path(__file__).parent
