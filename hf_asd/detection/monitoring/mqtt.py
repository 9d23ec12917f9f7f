"""Lines of `monitor` to an MQTT broker: at least once each, also when the broker was away."""

import json
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...data.recording_time import now, time_text


logger = logging.getLogger(__name__)

PORT, TLS_PORT = 1883, 8883
KEEPALIVE_S = 30  # the broker publishes the last will after one and a half times this without a sign of life
LONGEST_RETRY_S = 30
MOST_WAITING = 100_000  # lines that wait for the broker, about 130 MB: eleven days of one line every 10 s
CLOSE_S = 30.0
AT_LEAST_ONCE = 1
QUEUE_IS_FULL = 15  # MQTT_ERR_QUEUE_SIZE of paho
USERNAME, PASSWORD = "MQTT_USERNAME", "MQTT_PASSWORD"
FORBIDDEN = str.maketrans("+#/\0", "____")  # in one level of a topic


@dataclass(frozen=True)
class MqttTarget:
    """
    Where lines are published.

    Args:
        host (`str`), port (`int`): of the broker.
        topic (`str`): lines are published below it, as `TOPIC/MACHINE`; `TOPIC/status` says whether monitor runs.
        tls (`bool`): whether the connection is encrypted.
    """

    host: str
    port: int
    topic: str
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> "MqttTarget":
        """
        Reads `HOST[:PORT]/TOPIC`, with `mqtts://` in front for an encrypted connection.

        Raises:
            ValueError: it is something else.
        """
        parts = urlsplit(text if "://" in text else f"mqtt://{text}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        topic = parts.path.strip("/")
        is_topic = bool(topic) and not set(topic) & set("+#\0")
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1 or not is_topic or parts.username:
            raise ValueError(
                f"--mqtt is {text!r}; accepted is HOST/TOPIC, HOST:PORT/TOPIC or mqtts://HOST/TOPIC, such as "
                f"localhost/plant/hall3. User and password are read from {USERNAME} and {PASSWORD}."
            )
        is_tls = parts.scheme == "mqtts"
        return cls(parts.hostname, port or (TLS_PORT if is_tls else PORT), topic, is_tls)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.topic}"


class MqttPublisher:
    """
    Publishes lines with QoS 1, in their order. While the broker is away they wait in memory; a connection that broke
    is made again. What the broker did not acknowledge is sent again, so that a line may come twice: its `id` tells.

    `TOPIC/status` (retained) is `online`, `ended` when monitor ended, and `offline`, the last will, when it died.

    Args:
        target ([`MqttTarget`]): broker and topic.

    Raises:
        ImportError: paho-mqtt is not installed.
    """

    def __init__(self, target: MqttTarget):
        try:
            from paho.mqtt import client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise ImportError(
                "--mqtt needs paho-mqtt: pip install paho-mqtt, or hf-asd with its extra mqtt."
            ) from error
        self.target, self.dropped = target, 0
        self._sent = self._acknowledged = 0
        self._status_ids: set[int] = set()
        self._news = threading.Event()
        self._is_away = False
        client_id = f"hf-asd-{socket.gethostname()}-{os.getpid()}"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        if USERNAME in os.environ:
            self._client.username_pw_set(os.environ[USERNAME], os.environ.get(PASSWORD))
        if target.tls:
            self._client.tls_set()
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.reconnect_delay_set(1, LONGEST_RETRY_S)
        self._client.will_set(self._status_topic, self._status("offline"), AT_LEAST_ONCE, retain=True)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._disconnected
        self._client.on_connect_fail = lambda *_: self._say_away("cannot be reached")
        self._client.on_publish = self._published
        self._client.connect_async(target.host, target.port, KEEPALIVE_S)
        self._client.loop_start()

    @property
    def waiting(self) -> int:
        """Lines that the broker has not acknowledged."""
        return self._sent - self._acknowledged

    def publish(self, line: dict, wait: bool = False) -> None:
        """
        Publishes a line.

        Args:
            line (`dict`): of [`~hf_asd.detection.monitoring.monitor.monitor`].
            wait (`bool`, *optional*, defaults to `False`): return when the broker has acknowledged it, however long
                that takes.
        """
        topic = f"{self.target.topic}/{(line['machine'] or 'unknown').translate(FORBIDDEN)}"
        info = self._client.publish(topic, json.dumps(line, ensure_ascii=True), AT_LEAST_ONCE)
        if info.rc == QUEUE_IS_FULL:
            if not self.dropped:
                logger.warning("MQTT: %d lines wait for %s; further ones are not kept.", MOST_WAITING, self.target)
            self.dropped += 1
            return
        self._sent += 1
        while wait and self.waiting:
            self._news.wait(0.5)
            self._news.clear()

    def close(self, seconds: float = CLOSE_S) -> int:
        """
        Waits for the lines that are on their way, says that monitor ended, and disconnects.

        Args:
            seconds (`float`, *optional*, defaults to 30): how long to wait.

        Returns:
            `int`: lines that were not delivered.
        """
        deadline = time.monotonic() + seconds
        while self.waiting and time.monotonic() < deadline:
            self._news.wait(0.1)
            self._news.clear()
        if self._client.is_connected():
            info = self._client.publish(self._status_topic, self._status("ended"), AT_LEAST_ONCE, retain=True)
            self._status_ids.add(info.mid)
            info.wait_for_publish(5.0)
        self._client.disconnect()
        self._client.loop_stop()
        return self.waiting + self.dropped

    @property
    def _status_topic(self) -> str:
        return f"{self.target.topic}/status"

    def _status(self, word: str) -> str:
        return json.dumps({"status": word, "time": time_text(now())})

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say_away(f"refuses the connection ({reason}); user and password: {USERNAME}, {PASSWORD}")
            return
        self._is_away = False
        logger.info("MQTT: connected to %s; %d lines wait.", self.target, self.waiting)
        # Its acknowledgment comes in this same thread, after its number is known.
        self._status_ids.add(
            client.publish(self._status_topic, self._status("online"), AT_LEAST_ONCE, retain=True).mid
        )

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say_away(f"is away ({reason})")

    def _say_away(self, what: str) -> None:
        if not self._is_away:
            logger.warning("MQTT: %s %s; trying again, lines wait.", self.target, what)
        self._is_away = True

    def _published(self, _client: Any, _data: Any, number: int, _reason: Any, _properties: Any) -> None:
        if number in self._status_ids:
            self._status_ids.discard(number)
        else:
            self._acknowledged += 1
        self._news.set()
