from .detector import AnomalyDetector, DetectorConfig
from .memory_bank import MemoryBank
from .scoring import ScoringConfig


__all__ = ["AnomalyDetector", "DetectorConfig", "MemoryBank", "ScoringConfig"]
