"""A simulated factory: recordings of machines, normal and with faults, in a noisy hall."""
