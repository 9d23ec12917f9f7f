"""What a file says about the sound in it, and which of its bytes are sound."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Bytes of a file that a decoder reads: those from `start` to `end`, after a header that promises no more."""

    start: int
    end: int
    prefix: bytes = b""


@dataclass(frozen=True)
class Layout:
    """
    Where the sound of a file is.

    Args:
        parts (`tuple[Part, ...]`): each decoded on its own, one after the other.
        promised_bytes (`int` or `None`): of sound, says the header; `None` where it says nothing.
        promised_frames (`int` or `None`): the same, of formats that promise samples.
        is_wrong (`bool`): whether the header's length is not that of the sound.
        is_counted (`bool`): whether the decoder gets the right number of samples from the header that it is given, so
            that fewer of them mean damage.
        frame_bytes (`int`): of a sample of all channels, where each has as many; then the decoder finds a sample
            without decoding those before it. 0 where they are packed.
        md5 (`bytes`): of the decoded samples, where the header has it (FLAC).
    """

    parts: tuple[Part, ...]
    promised_bytes: int | None = None
    promised_frames: int | None = None
    is_wrong: bool = False
    is_counted: bool = True
    frame_bytes: int = 0
    md5: bytes = b""

    @property
    def sound_bytes(self) -> int:
        """The bytes of sound that are there."""
        return sum(part.end - part.start for part in self.parts)
