"""Two short clips of the simulated factory for a detector's page: its own recordings are not published."""

import io
from dataclasses import replace

import soundfile


SECONDS, SEED, SNR_DB = 2.0, 7, (6.0, 12.0)
CLIPS = {"normal": None, "anomaly": "imbalance"}  # fault of the simulated fan


def widget_files() -> dict[str, bytes]:
    """The clips as FLAC by their path in a repository."""
    # Only a push makes them; it imports scipy.signal, which takes a second.
    from ..simulation.recording import draw_clip, record_clip
    from ..simulation.signals import RATE

    files = {}
    for name, fault in CLIPS.items():
        clip = replace(draw_clip(SEED, "fan", "test", "source", "normal", 0), fault=fault, severity=float(bool(fault)))
        buffer = io.BytesIO()
        samples = record_clip(clip, SEED, SECONDS, SNR_DB)
        soundfile.write(buffer, samples, RATE, format="FLAC", subtype="PCM_16")
        files[_path(name)] = buffer.getvalue()
    return files


def widget_examples(repo_id: str) -> list[dict[str, str]]:
    """What the header of a card says about them."""
    return [
        {
            "src": f"https://huggingface.co/{repo_id}/resolve/main/{_path(name)}",
            "example_title": f"{name}, a simulated fan",
        }
        for name in CLIPS
    ]


def _path(name: str) -> str:
    return f"widget/simulated_fan_{name}.flac"
