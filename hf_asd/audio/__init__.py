"""From a file to samples and features: reading, channels, filter bank, acoustic features."""
