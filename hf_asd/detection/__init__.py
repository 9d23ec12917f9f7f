"""The detector: it compares new clips with the memory bank of normal ones and decides."""
