"""The small encoder that comes with the package: its weights lie beside this file, its card is README.md."""

from pathlib import Path


BUNDLED_ENCODER = Path(__file__).parent
# Fewer normal clips make no stable memory of two embeddings, and more faults are missed at the threshold.
BUNDLED_MIN_CLIPS = 30
