"""
Writes recordings of a simulated fan, to try the commands of the README without a machine of your own.

    python examples/make_recordings.py           # my_fan/ and new/ in the current folder, about half a minute

`my_fan/` gets normal recordings at five speeds. `new/` gets one more normal recording, one of the fan with an
imbalance, and one that was made while the fan was off.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import soundfile

from hf_asd.simulation.recording import Clip, draw_clip, record_clip


RATE, SEED, SNR_DB = 16_000, 7, (6.0, 12.0)
SPEEDS = ("900", "1050", "1200", "1350", "1500")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("."), help="folder that my_fan/ and new/ are written to")
    parser.add_argument("--count", type=int, default=40, help="normal recordings in my_fan/ (default: 40)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a recording (default: 10)")
    args = parser.parse_args()
    for number in range(args.count):
        write(args.output / "my_fan" / f"{number:03d}.wav", fan("train", number), args.seconds)
    new = args.output / "new"
    write(new / "1_monday.wav", fan("test", 0), args.seconds)
    write(new / "2_tuesday.wav", fan("test", 3, "imbalance"), args.seconds)
    write(new / "3_wednesday.wav", fan("test", 4), args.seconds, is_running=False)
    print(f"{args.output / 'my_fan'}: {args.count} normal recordings; {new}: 3 recordings to score")


def fan(split: str, number: int, fault: str | None = None) -> Clip:
    """One clip of the fan; the speeds take turns."""
    clip = draw_clip(SEED, "fan", split, "source", "normal", number)
    attributes = {"unit": "A", "spd": SPEEDS[number % len(SPEEDS)]}
    return replace(clip, attributes=attributes, fault=fault, severity=1.0 if fault else 0.0)


def write(path: Path, clip: Clip, seconds: float, is_running: bool = True):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, record_clip(clip, SEED, seconds, SNR_DB, is_running=is_running), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
