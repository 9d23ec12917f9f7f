from .config import DetectorConfig
from .detector import AnomalyDetector
from .memory_bank import MemoryBank
from .scoring import ScoringConfig


__all__ = ["AnomalyDetector", "DetectorConfig", "MemoryBank", "ScoringConfig"]
