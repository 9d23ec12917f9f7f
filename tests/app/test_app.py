"""The page of `hf-asd app` in a real browser: recordings are dropped, played, compared and learned from."""

import csv
import http.client
import io
import json
import re
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from browser import Tab, chromium, free_port
from documents import write_recordings
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main


pytest.importorskip("gradio", reason='gradio is missing: pip install "hf-asd[app]"')
pytestmark = pytest.mark.slow

SECONDS = 20_000  # Playwright's milliseconds


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Normal recordings in `fan`, a detector of them, and new recordings in `new`."""
    folder = tmp_path_factory.mktemp("app")
    write_recordings(folder / "fan", [f"{number:02d}.wav" for number in range(24)])
    write_recordings(folder / "new", ["good.wav"], seed=1)
    write_recordings(folder / "new", ["fault.wav"], pitch=170.0, seed=2)
    AnomalyDetector().fit(load_folder(folder / "fan")).save_pretrained(folder / "detector")
    return folder


@pytest.fixture(scope="module")
def address(place):
    from hf_asd.app.normal_recordings import NormalRecordings
    from hf_asd.app.serving import serving
    from hf_asd.app.settings import AppSettings

    detector = AnomalyDetector.from_pretrained(place / "detector")
    normal = NormalRecordings.of_folder(place / "fan", detector)
    with serving(AppSettings(detector, normal, max_files=30), port=free_port()) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@contextmanager
def opened(browser, address, **options):
    tab = Tab(browser.new_context(**({"viewport": {"width": 1300, "height": 900}} | options)), address)
    tab.page.set_default_timeout(SECONDS)
    try:
        yield tab
    finally:
        tab.close()


def wait_for_verdict(tab: Tab, text: str):
    tab.page.locator(".verdict", has_text=text).wait_for()


def test_a_dropped_recording_gets_its_verdict_is_played_and_meets_another_threshold(browser, address, place):
    detector = AnomalyDetector.from_pretrained(place / "detector")
    decision = detector(place / "new" / "fault.wav", explain=True)
    bank = detector.machines["fan"]
    with opened(browser, address) as tab:
        page = tab.page
        assert "No recording was checked yet" in page.content()
        tab.drop(place / "new" / "fault.wav")
        wait_for_verdict(tab, f"Anomaly: score {decision.anomaly_score:.3g}, threshold {bank.threshold:.3g}")
        assert page.locator(".clip ol li").all_inner_texts() == [reason.text for reason in decision.reasons]
        assert f"Nearest normal recording: {decision.nearest_clip_id}" in tab.text(".clip")
        # Played with a moving cursor; the other one stops.
        sounds = page.locator(".clip audio")
        assert sounds.count() == 2
        assert page.locator(".clip .cursor").first.is_hidden()
        sounds.first.evaluate("sound => sound.play()")
        page.wait_for_function("document.querySelector('.clip audio').currentTime > 0.3")
        places = [page.locator(".clip .cursor").first.evaluate("cursor => parseFloat(cursor.style.left)")]
        sounds.nth(1).evaluate("sound => sound.play()")
        page.wait_for_function("document.querySelector('.clip audio').paused")
        places.append(page.locator(".clip .cursor").first.evaluate("cursor => parseFloat(cursor.style.left)"))
        left, right = (float(page.locator(".sound").first.get_attribute(f"data-{side}")) for side in ("left", "right"))
        assert left < places[0] <= places[1] <= right
        page.get_by_role("button", name="Larger").first.click()
        assert page.locator(".canvas").first.evaluate("canvas => canvas.style.width") == "200%"
        # The threshold, with the keyboard alone.
        above = int((bank.normal_scores > bank.threshold).sum())
        assert f"(the detector's own threshold), {above} of 24 normal recordings" in tab.text(".threshold")
        slider = page.locator(".threshold-slider input[type=range]")
        slider.focus()
        page.keyboard.press("Home")
        page.locator(".threshold", has_text="24 of 24 normal recordings").wait_for()
        page.get_by_role("button", name="Back to the detector").click()
        page.locator(".threshold", has_text="(the detector's own threshold)").wait_for()
        assert tab.serious() == []


def test_several_recordings_are_a_table_that_is_sorted_saved_and_redecided(browser, address, place, tmp_path):
    with opened(browser, address) as tab:
        page = tab.page
        (tmp_path / "broken.wav").write_bytes((place / "new" / "good.wav").read_bytes()[:9000])
        tab.drop(place / "new" / "good.wav", place / "new" / "fault.wav", tmp_path / "broken.wav")
        page.get_by_role("heading", name="1 of 3 recordings is an anomaly, 1 cannot be used").wait_for()
        assert re.search(r"broken\.wav.*error: is cut off, .* Copy it again", tab.text("table"), re.DOTALL)
        assert "hf-asd-app" not in page.content(), "places of uploads say nothing to the user"
        wait_for_verdict(tab, "Anomaly")  # the worst one is shown
        page.get_by_role("button", name="good.wav").focus()
        page.keyboard.press("Enter")
        wait_for_verdict(tab, "Normal")

        def names():
            return page.locator("tbody [data-clip]").all_inner_texts()

        page.get_by_role("button", name="Score").click()
        assert names() == ["good.wav", "fault.wav", "broken.wav"]
        page.get_by_role("button", name="Score").click()
        assert names() == ["fault.wav", "good.wav", "broken.wav"]
        # The same table as from the command line, which goes on with the time and the event of each recording.
        with page.expect_download() as download:
            page.get_by_role("link", name="Save the table as CSV").click()
        saved = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
        arguments = [
            "score",
            str(place / "detector"),
            str(place / "new"),
            "--explain",
            "--csv",
            str(tmp_path / "a.csv"),
        ]
        assert main(arguments) == 0
        (heading, *expected) = csv.reader((tmp_path / "a.csv").read_text().splitlines())
        width = len(saved[0])
        assert saved[0] == heading[:width] and heading[width] == "id"
        assert {row[0]: row[1:] for row in saved[1:]} == {Path(row[0]).name: row[1:width] for row in expected}
        # A lower threshold makes an anomaly of the other one too.
        page.locator(".threshold-slider input[type=range]").focus()
        page.keyboard.press("Home")
        page.get_by_role("heading", name="2 of 3 recordings are anomalies").wait_for()
        wait_for_verdict(tab, "Anomaly")
        assert names() == ["fault.wav", "good.wav", "broken.wav"], "still sorted"
        page.get_by_role("button", name="Remove all results").click()
        page.get_by_text("No recording was checked yet").wait_for()


def test_hostile_names_are_shown_as_they_are(browser, address, place, tmp_path):
    content = (place / "new" / "good.wav").read_bytes()
    names = [
        "<img src=x onerror=alert(1)>.wav",
        "<script>alert(2)<script>.wav",
        "../../evil.wav",
        "{{7*7}}${alert(3)}.wav",
    ]
    folder = tmp_path / "<b>new<b>"
    folder.mkdir()
    name = "<img src=x onerror=alert(4)>{{7*7}}${alert(5)}.wav"
    (folder / name).write_bytes(content)
    with opened(browser, address) as tab:
        tab.drop(*[{"name": name, "mimeType": "audio/wav", "buffer": content} for name in names])
        tab.page.get_by_role("heading", name="None of 4 recordings are anomalies").wait_for()
        tab.page.locator("article.clip").wait_for()
        shown = tab.page.locator("tbody [data-clip]").all_inner_texts()
        assert any("img src=x onerror=alert(1)" in name for name in shown)
        assert any("alert(3)" in name for name in shown)
        assert not any("/" in name for name in shown)
        assert not list(place.parent.rglob("evil.wav"))
        assert tab.page.locator("table script, table img, article script, article img[src=x]").count() == 0
        # A folder of the computer may hold any name.
        tab.page.get_by_label("Or a folder on this computer").first.fill(str(folder))
        tab.page.keyboard.press("Enter")
        tab.page.locator(".clip .file", has_text="{{7*7}}").wait_for()
        assert name in tab.text("table") and name in tab.text(".clip .file")


def test_two_pages_do_not_mix_and_leave_nothing(browser, address, place):
    import os

    pages = Path(os.environ["GRADIO_TEMP_DIR"]).parent / "pages"
    with opened(browser, address) as first:
        with opened(browser, address) as second:
            first.drop(place / "new" / "good.wav")
            second.drop(place / "new" / "fault.wav")
            wait_for_verdict(first, "Normal")
            wait_for_verdict(second, "Anomaly")
            assert "fault" not in first.text("table") and "good" not in second.text("table")
            second.page.locator(".threshold-slider input[type=range]").focus()
            second.page.keyboard.press("Home")
            second.page.locator(".threshold", has_text="24 of 24").wait_for()
            first.page.get_by_role("button", name="good.wav").click()
            first.page.wait_for_timeout(300)
            wait_for_verdict(first, "Normal")
        closed = str(pages / "**" / "fault.wav")
        for _ in range(SECONDS // 100):
            if not glob(closed, recursive=True):
                break
            first.page.wait_for_timeout(100)
        assert not glob(closed, recursive=True), "of the page that was closed"
        assert list(pages.rglob("good.wav"))


def test_uploads_are_limited_and_nothing_else_can_be_read(browser, address, place, tmp_path):
    huge = tmp_path / "huge.wav"
    with open(huge, "wb") as file:
        file.truncate(200 * 2**20)
    with opened(browser, address) as tab:
        tab.drop(huge)
        tab.page.get_by_text("exceed the maximum allowed size").first.wait_for()
        tab.drop(*[{"name": f"{n}.wav", "mimeType": "audio/wav", "buffer": b"RIFF"} for n in range(31)])
        tab.page.get_by_text("31 recordings were given; at most 30 are taken").wait_for()
    # The server refuses it as well, without a page.
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    assert _upload(address, [head, *[bytes(2**20)] * 200], len(head) + 200 * 2**20) == 413
    assert _upload(address, [b"x"], 3000 * 2**20) == 413, "refused before it is read"
    for path in ("/etc/hostname", str(place / "new" / "good.wav"), "../../../../etc/hostname", "http://127.0.0.1:1/x"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}gradio_api/file={path}")
    config = json.load(urllib.request.urlopen(f"{address}config"))
    functions = [one["id"] for one in config["dependencies"] if one["inputs"]]
    file = {"path": str(place / "new" / "good.wav"), "meta": {"_type": "gradio.FileData"}}
    answer = _call(address, functions[0], [[file], "fan"])
    assert "was not uploaded by a user" in answer
    assert "good.wav" not in answer.replace(file["path"], "")


def _upload(address: str, parts: list[bytes], length: int) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    try:
        for part in parts:
            connection.send(part)
    except (BrokenPipeError, ConnectionResetError):  # it answered before everything was sent
        pass
    return connection.getresponse().status


def _call(address: str, function: int, data: list) -> str:
    """Asks the server without a page for one of its functions; its whole answer."""
    body = json.dumps({"data": data, "fn_index": function, "session_hash": "stranger"}).encode()
    header = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{address}gradio_api/queue/join", body, header)).read()
    lines = urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=stranger", timeout=20)
    answer = ""
    for line in lines:
        answer += line.decode()
        if "process_completed" in answer or "close_stream" in answer:
            break
    return answer


def test_a_machine_is_learned_from_a_folder(browser, address, place, tmp_path):
    write_recordings(tmp_path / "pump", [f"{number:02d}.wav" for number in range(14)], seed=3)
    write_recordings(tmp_path / "pump", ["odd.wav"], pitch=230.0, seed=4)
    (tmp_path / "pump" / "cut.wav").write_bytes((tmp_path / "pump" / "00.wav").read_bytes()[:5000])
    with opened(browser, address) as tab:
        page = tab.page
        page.get_by_role("tab", name="Learn").click()
        page.get_by_label("Or a folder on this computer").nth(1).fill(str(tmp_path / "missing"))
        page.get_by_role("button", name="Learn from the folder").click()
        page.get_by_role("alert").get_by_text("There is no folder or recording").wait_for()
        page.get_by_label("Or a folder on this computer").nth(1).fill(str(tmp_path / "pump"))
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="pump: learned from 15 recordings").wait_for()
        assert "1 recording cannot be used" in page.content() and "cut.wav: is cut off" in page.content()
        first = page.locator("tbody tr:visible").first
        assert "odd.wav" in first.inner_text(), "what stands out comes first"
        first.locator("[data-clip]").click()
        page.locator("article.clip audio").wait_for()
        assert tab.serious() == []
        first.locator("input[type=checkbox]").check()
        page.get_by_role("button", name="Learn again").click()
        page.get_by_role("heading", name="pump: learned from 14 recordings").wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the detector").or_(
                page.get_by_role("button", name="Download the detector")
            ).first.click()
        zipfile.ZipFile(download.value.path()).extractall(tmp_path / "out")
        learned = AnomalyDetector.from_pretrained(tmp_path / "out" / "detector")
        assert "pump/odd.wav" not in learned.machines["pump"].leave_one_out_scores()
        assert learned(tmp_path / "pump" / "odd.wav").is_anomaly is True
        # The page decides with it.
        page.get_by_role("button", name="Check recordings with it").click()
        page.get_by_text("are now checked with this detector").wait_for()
        page.get_by_role("tab", name="Check").click()
        tab.drop(tmp_path / "pump" / "odd.wav")
        wait_for_verdict(tab, "Anomaly")
        assert page.locator(".clip audio").count() == 2, "its normal recordings are at hand"


def test_long_work_shows_progress_and_is_stopped(browser, address, place, tmp_path):
    long = np.tile(hum(np.random.default_rng(5), seconds=60), 12)
    soundfile.write(tmp_path / "shift.wav", long, RATE)
    with opened(browser, address) as tab:
        tab.drop(place / "new" / "good.wav")
        wait_for_verdict(tab, "Normal")
        tab.page.get_by_label("Or a folder on this computer").first.fill(str(tmp_path / "shift.wav"))
        tab.page.get_by_role("button", name="Check the folder").click()
        tab.page.get_by_text(re.compile(r"1 of 1: .*shift\.wav, at 0:0")).wait_for()
        assert tab.page.get_by_role("progressbar").count() == 1
        tab.page.get_by_role("button", name="Stop").click()
        tab.page.get_by_text("Stopped after 0 recordings").wait_for()
        assert "good.wav" in tab.text("table") and "shift.wav" not in tab.text("table")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_light_and_dark_colors(browser, address, place, scheme):
    with opened(browser, address, viewport={"width": 400, "height": 800}, color_scheme=scheme) as tab:
        tab.drop(place / "new" / "fault.wav")
        wait_for_verdict(tab, "Anomaly")
        assert tab.page.locator(f".clip img.in-{scheme}").first.is_visible()
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 400
        assert tab.page.evaluate("document.querySelector('.gradio-container').scrollWidth") <= 400
        assert tab.serious() == []
        for name in ("Learn", "Help"):
            tab.page.get_by_role("tab", name=name).click()
            tab.page.wait_for_timeout(200)
            assert tab.serious() == []


def test_a_recording_made_on_the_page_is_checked(browser, address):
    with opened(browser, address, permissions=["microphone"]) as tab:
        tab.page.get_by_role("button", name="Record", exact=True).click()
        tab.page.wait_for_timeout(2500)
        tab.page.get_by_role("button", name="Stop", exact=True).first.click()
        tab.page.locator("tbody [data-clip]").wait_for()
        assert "error" not in tab.text("table"), tab.text("table")
