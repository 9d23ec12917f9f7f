"""A scored dataset -> one HTML page."""
