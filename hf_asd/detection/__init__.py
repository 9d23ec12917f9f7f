from .detector import AnomalyDetector, DetectorConfig
from .memory_bank import MemoryBank


__all__ = ["AnomalyDetector", "DetectorConfig", "MemoryBank"]
