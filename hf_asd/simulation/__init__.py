"""A simulated factory: machines that run, wear and break, recorded by a microphone in a noisy hall."""
