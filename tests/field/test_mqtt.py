"""`monitor --mqtt` with a real broker, mosquitto, that is killed and started again."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, hum

from hf_asd import AnomalyDetector, load_folder
from hf_asd.cli import main
from hf_asd.detection.monitoring.mqtt import MqttPublisher, MqttTarget


mqtt = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt (the extra mqtt)")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs the program mosquitto (apt-get install mosquitto)")


CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
"""


class Broker:
    """mosquitto on a free port of this computer; it keeps on disk who listens, as docs/plant.md says."""

    def __init__(self, folder: Path):
        self.configuration = folder / "mosquitto.conf"
        folder.chmod(0o777)  # it runs as another user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.configuration.write_text(CONFIGURATION.format(port=self.port, folder=folder))
        self.start()

    def start(self) -> None:
        command = [MOSQUITTO, "-c", str(self.configuration)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, OSError)

    def stop(self) -> None:
        """Ends it in order: it writes to disk who listens, which a killed one may not have done yet."""
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Listener:
    """A plant's system: keeps what it gets, once."""

    def __init__(self, port: int):
        self.got: list[tuple[str, dict]] = []
        version = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(version, client_id="plant", clean_session=False)
        self.client.on_connect = lambda *_: self.client.subscribe("plant/#", 1)
        is_there = threading.Event()
        self.client.on_subscribe = lambda *_: is_there.set()
        self.client.on_message = lambda _c, _d, message: self.got.append((message.topic, json.loads(message.payload)))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert is_there.wait(30)

    def lines(self) -> list[dict]:
        # A broker that was killed may deliver again what it had delivered.
        lines = {line["id"]: line for topic, line in self.got if topic != "plant/status"}
        return list(lines.values())

    def statuses(self) -> list[str]:
        return [line["status"] for topic, line in self.got if topic == "plant/status"]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def until(is_true, error=(), seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if is_true():
                return
        except error:
            pass
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


@pytest.fixture
def broker(tmp_path):
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    yield broker
    broker.kill()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("hall/plant", MqttTarget("hall", 1883, "plant")),
        ("hall:1885/plant/3/", MqttTarget("hall", 1885, "plant/3")),
        ("mqtts://hall/plant", MqttTarget("hall", 8883, "plant", tls=True)),
    ],
)
def test_what_a_target_is(text, target):
    assert MqttTarget.parse(text) == target


@pytest.mark.parametrize("text", ["hall", "/plant", "hall:x/plant", "hall/a+b", "me:secret@hall/plant", "http://h/t"])
def test_what_is_no_target(text):
    with pytest.raises(ValueError, match="accepted is HOST/TOPIC"):
        MqttTarget.parse(text)


@needs_broker
def test_a_broker_that_comes_back_gets_each_line_once(broker):
    listener = Listener(broker.port)
    publisher = MqttPublisher(MqttTarget("127.0.0.1", broker.port, "plant"))
    publisher.publish({"machine": "fan", "id": 0}, wait=True)
    until(lambda: listener.statuses()[-1:] == ["online"])
    broker.stop()
    for number in range(1, 30):
        publisher.publish({"machine": "a+b/c", "id": number})
    assert publisher.waiting == 29
    broker.start()
    assert publisher.close() == 0
    until(lambda: len(listener.lines()) >= 30 and "ended" in listener.statuses())
    listener.close()
    assert [line["id"] for line in listener.lines()] == list(range(30))
    assert {topic for topic, _ in listener.got} == {"plant/fan", "plant/a_b_c", "plant/status"}


@needs_broker
def test_no_broker_is_said_and_the_lines_are_counted(caplog):
    publisher = MqttPublisher(MqttTarget("127.0.0.1", 9, "plant"))
    publisher.publish({"machine": "fan"})
    assert publisher.close(seconds=1.0) == 1
    assert caplog.text.count("127.0.0.1:9/plant cannot be reached; trying again, lines wait.") == 1


@pytest.mark.slow
@needs_broker
def test_monitor_loses_no_decision_and_gives_none_twice(broker, tmp_path):
    rng, normal, inbox = np.random.default_rng(0), tmp_path / "fan", tmp_path / "inbox"
    normal.mkdir()
    inbox.mkdir()
    for clip in range(12):
        soundfile.write(normal / f"{clip:02d}.wav", hum(rng), RATE)
    detector = AnomalyDetector(None).fit(load_folder(normal)).save_pretrained(tmp_path / "detector")
    listener = Listener(broker.port)
    command = [sys.executable, "-m", "hf_asd", "monitor", str(detector), str(inbox), "--wait-seconds", "inf"]
    command += [
        "--window-seconds",
        "1",
        "--mqtt",
        f"127.0.0.1:{broker.port}/plant",
        "--state",
        str(tmp_path / "state"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])

    def add(number: int) -> None:
        soundfile.write(tmp_path / "new.wav", hum(rng, seconds=2.0), RATE)
        (tmp_path / "new.wav").rename(inbox / f"{number}.wav")

    try:
        add(0)
        until(lambda: len(listener.lines()) == 2, seconds=60)
        broker.kill()
        add(1)
        add(2)
        time.sleep(3.5)  # they are decided while nobody listens
        broker.start()
        add(3)
        until(lambda: len(listener.lines()) >= 8, seconds=60)
        process.send_signal(signal.SIGKILL)
        until(lambda: listener.statuses()[-1] == "offline", seconds=60)
    finally:
        process.kill()
        printed = process.communicate()[0].decode().splitlines()
        listener.close()
    lines = listener.lines()
    assert [line["id"] for line in lines] == [json.loads(line)["id"] for line in printed]
    assert len({line["id"] for line in lines}) == len(lines) == 8 and {line["machine"] for line in lines} == {"fan"}


def test_a_wrong_target_is_an_error_of_the_command(capsys, tmp_path):
    assert main(["monitor", str(tmp_path), str(tmp_path), "--mqtt", "hall"]) == 2
    assert "--mqtt is 'hall'; accepted is HOST/TOPIC" in capsys.readouterr().err
