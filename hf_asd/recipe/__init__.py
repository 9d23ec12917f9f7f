"""A recipe: what can be configured, reading it, and running its stages."""
