"""Recordings -> one embedding each: encoders, and the only place that runs one over a dataset."""
