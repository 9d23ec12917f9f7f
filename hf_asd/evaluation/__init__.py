"""Official scores of scored datasets and submission files."""
