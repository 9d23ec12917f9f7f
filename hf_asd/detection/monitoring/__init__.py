"""Decisions about growing files, folders and pipes, window by window."""
