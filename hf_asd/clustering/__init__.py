"""Pseudo-attributes: clusters of each machine's embeddings stand in for attributes that nobody wrote down."""
