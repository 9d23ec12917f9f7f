"""Whether recordings as a whole become unlike the earlier ones: the microphone, the load, a slow change."""
