"""What stands out among the normal recordings that a detector learns from."""
