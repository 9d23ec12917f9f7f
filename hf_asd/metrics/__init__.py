"""Scores of DCASE Task 2: plain functions, and the same as `evaluate` modules (`pauc/`, `dcase_score/`)."""
