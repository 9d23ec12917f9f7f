"""
The picture of a report in the README, and what a report of many recordings costs.

    python benchmarks/report.py --picture report.png    # needs the browser chromium; a minute on two cores
    python benchmarks/report.py --clips 200             # size, and seconds to write it and to load it in the browser

The fan of `examples/make_recordings.py` is fitted. The picture is the top of `hf-asd score my_detector new/ --report`.
With `--clips` as many anomalies are drawn with spectrogram and sound. The browser is chromium without a window; its
seconds last from its start, without those that an empty page takes, until every picture of the page is loaded.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from hf_asd import AnomalyDetector, ReportContent, load_folder, write_report
from hf_asd.cli import main


ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, COLORS = 1000, 1375, 200


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="PNG file for the picture")
    parser.add_argument("--clips", type=int, help="number of recordings in a large report")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = [sys.executable, ROOT / "examples" / "make_recordings.py", "--output", work]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        detector = AnomalyDetector().fit(load_folder(work / "my_fan"))
        if args.picture is not None:
            draw_picture(detector, work, args.picture)
        if args.clips is not None:
            measure(detector, work, args.clips)


def draw_picture(detector: AnomalyDetector, work: Path, picture: Path):
    page = work / "report.html"
    main(["score", str(detector.save_pretrained(work / "my_detector")), str(work / "new"), "--report", str(page)])
    browse(page, work, f"--screenshot={work / 'page.png'}", f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars")
    Image.open(work / "page.png").convert("RGB").quantize(COLORS, Image.Quantize.FASTOCTREE).save(
        picture, optimize=True
    )
    print(f"{picture}: {picture.stat().st_size // 1000} kB")


def measure(detector: AnomalyDetector, work: Path, clips: int):
    many = work / "many"
    many.mkdir()
    for number in range(clips):
        shutil.copy(work / "new" / "2_tuesday.wav", many / f"{number:04d}.wav")
    scored = detector.score(load_folder(many)["train"])
    started = time.monotonic()
    content = ReportContent(title="many", test=scored, detector=detector, max_clips=clips)
    page = write_report(work / "many.html", content)
    written = time.monotonic() - started
    empty = work / "empty.html"
    empty.write_text("<!DOCTYPE html><title>empty</title>")
    seconds = [browse(page, work, f"--screenshot={work / 'many.png'}") for page in (empty, page)]
    print(
        f"{clips} clips: {page.stat().st_size / 1e6:.1f} MB, written in {written:.0f} s, "
        f"loaded in {seconds[1] - seconds[0]:.1f} s"
    )


def browse(page: Path, work: Path, *options: str) -> float:
    """Seconds of a run of the browser."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={work}/profile", *options]
    started = time.monotonic()
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=300)
    return time.monotonic() - started


if __name__ == "__main__":
    run()
