"""A page in the browser to try a detector on, and to learn a machine."""
