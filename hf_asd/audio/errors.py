"""The one error about a recording."""


class BadAudioError(ValueError):
    """A recording that cannot be used; the message names the file, the fault and what to do."""
