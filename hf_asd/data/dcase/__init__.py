"""DCASE Challenge Task 2: downloads, layouts, ground truth."""
