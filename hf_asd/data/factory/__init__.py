"""A simulated factory: machines that run, wear and break, recorded by a microphone in a noisy hall."""

from .writer import FactoryConfig, write_factory


__all__ = ["FactoryConfig", "write_factory"]
