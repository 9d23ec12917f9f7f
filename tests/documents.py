"""Reads the commands and the code that the documentation shows, for tests that run them."""

import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import soundfile
from sounds import RATE, hum


ROOT = Path(__file__).parents[1]


def section(text: str, heading: str) -> str:
    """The part of a Markdown text from a heading (with its `#`) to the next heading of the same level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    lines = text.splitlines()
    first = lines.index(heading)
    in_code = False
    for number, line in enumerate(lines[first + 1 :], start=first + 1):
        in_code ^= line.startswith("```")
        if not in_code and re.match(rf"#{{1,{level}}} ", line):
            return "\n".join(lines[first:number])
    return "\n".join(lines[first:])


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; `""` gives those that name none."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for named, block in blocks if named == language]


def shim(folder: Path) -> dict[str, str]:
    """An environment in which `hf-asd` and `python` are this interpreter with this source tree."""
    folder.mkdir(parents=True)
    for name, words in {
        "hf-asd": f"{shlex.quote(sys.executable)} -m hf_asd",
        "python": shlex.quote(sys.executable),
    }.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def write_recordings(folder: Path, names: list[str], pitch: float = 100.0, seed: int = 0) -> None:
    """Short recordings of a machine."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        soundfile.write(folder / name, hum(rng, pitch), RATE)
