"""
The picture of the page of `hf-asd app` in the README.

    python benchmarks/app.py --picture app.png    # needs the browser chromium and playwright; a minute on two cores

The fan of `examples/make_recordings.py` is fitted, and its new recordings are dropped onto the page.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from hf_asd import AnomalyDetector, load_folder
from hf_asd.app.normal_recordings import NormalRecordings
from hf_asd.app.serving import serving
from hf_asd.app.settings import AppSettings


ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, COLORS = 1000, 1400, 128
SHRUNK = 0.9


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True, help="PNG file for the picture")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = [sys.executable, ROOT / "examples" / "make_recordings.py", "--output", work]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        detector = AnomalyDetector().fit(load_folder(work / "my_fan"))
        normal = NormalRecordings.of_folder(work / "my_fan", detector)
        with serving(AppSettings(detector, normal)) as address:
            draw_picture(address, sorted((work / "new").iterdir()), work / "page.png")
        page = Image.open(work / "page.png").convert("RGB")
        page = page.resize((round(SHRUNK * page.width), round(SHRUNK * page.height)), Image.Resampling.LANCZOS)
        page.quantize(COLORS, Image.Quantize.FASTOCTREE).save(args.picture, optimize=True)
    print(f"{args.picture}: {args.picture.stat().st_size // 1000} kB")


def draw_picture(address: str, recordings: list[Path], picture: Path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.locator("input[type=file]").first.set_input_files(recordings)
        page.locator("article.clip audio").first.wait_for()
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    run()
