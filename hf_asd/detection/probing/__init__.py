"""Which faults a detector would hear: synthetic ones are put into normal clips of the machine itself."""
