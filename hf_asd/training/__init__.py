"""Pre-training and fine-tuning by the Trainer."""
