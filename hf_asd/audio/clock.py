"""Times within a recording, in words."""

Span = tuple[float, float]  # start and end in seconds


def clock(seconds: float) -> str:
    """A time within a recording, such as `0:31:20`; with tenths where they are not zero."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    return f"{hours}:{minutes:02d}:{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")


def span_text(span: Span) -> str:
    """Start and end of a window, such as `0:31:20-0:31:30`."""
    return f"{clock(span[0])}-{clock(span[1])}"
