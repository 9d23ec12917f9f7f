"""What a plant's system needs beside a decision: when, how severe, and which event it belongs to."""
