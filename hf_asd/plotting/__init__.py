"""Figures of a clip and of scores, for notebooks, the report and the app."""
