"""Whether recordings are good enough to learn from: what `hf-asd check` measures and says."""
