"""The models: EAT, BEATs, the attribute classifier, and pooling."""
