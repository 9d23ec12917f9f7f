"""Recordings -> one dataset schema."""
