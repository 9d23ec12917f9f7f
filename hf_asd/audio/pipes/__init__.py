"""Sound from a pipe, block by block: raw samples, or what a header in the pipe says."""
