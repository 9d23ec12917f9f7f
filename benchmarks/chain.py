"""
Where the time of a recipe goes, stage by stage, beside another checkout of this project.

    python benchmarks/chain.py WORK --before DIR      # DIR: a checkout of the commit to compare with
    python benchmarks/chain.py WORK                   # this checkout alone

Runs `hf-asd run recipes/factory` of each checkout in a process of its own, one after the other, each with its own
recipe, and prints seconds of each stage, clips a second in training, and the ratio of now to before. WORK keeps the
results; runs that are there already are made anew. Nothing else should run on the computer.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hf_asd.files import read_json
from hf_asd.recipe.config import STAGE_NAMES


ROOT = Path(__file__).resolve().parent.parent
RUN = "import sys; from hf_asd.cli import main; sys.exit(main())"


def run(checkout: Path, output: Path, options: list[str]) -> dict[str, float]:
    """Seconds of each stage and of the whole run, and clips a second in pre-training and fine-tuning."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-c", RUN, "run", "recipes/factory", "--output_dir", str(output.absolute()), *options]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, capture_output=True, text=True
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    print("\n".join(re.findall(r"^(?:official score in|this recipe|spectral|mean log-mel).*", done.stdout, re.M)))
    result = {name: read_json(next(output.glob(f"{name}-*")) / "stage.json")["seconds"] for name in STAGE_NAMES}
    speeds = [float(speed) for speed in re.findall(r"'train_samples_per_second': '([\d.]+)'", done.stdout)]
    names = ("pre-training, clips/s", "fine-tuning, clips/s")
    return result | {"all": round(seconds, 1)} | dict(zip(names, speeds, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--before", type=Path, help="checkout of the commit to compare with")
    args, options = parser.parse_known_args()
    before = None if args.before is None else run(args.before.absolute(), args.work / "before", options)
    now = run(ROOT, args.work / "now", options)
    print(f"\n{'':<24}{'before':>10}{'now':>10}{'ratio':>10}")
    for name, value in now.items():
        earlier = "" if before is None else f"{before[name]:.1f}"
        ratio = "" if before is None or not before[name] else f"{value / before[name]:.2f}"
        print(f"{name:<24}{earlier:>10}{value:>10.1f}{ratio:>10}")


if __name__ == "__main__":
    main()
