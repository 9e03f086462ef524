"""A real MQTT broker on this machine for a test: mosquitto where it is installed, else amqtt from the package index."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from waiting import TIMEOUT

MOSQUITTO = "listener {port} 127.0.0.1\nallow_anonymous {anonymous}\n"
AMQTT = """
listeners: {{default: {{type: tcp, bind: "127.0.0.1:{port}"}}}}
plugins: {{amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: {anonymous}}}}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class MqttBroker:
    """A broker in a process of its own, that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *, anonymous: bool = True) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        program = shutil.which("mosquitto", path=f"/usr/sbin:{Path(sys.executable).parent}:/usr/bin:/usr/local/sbin")
        text = MOSQUITTO if program else AMQTT
        self._file = folder / f"broker-{self.port}.conf"
        self._file.write_text(text.format(port=self.port, anonymous=str(anonymous).lower()))
        self._command = [program or str(Path(sys.executable).parent / "amqtt"), "-c", str(self._file)]

    def start(self) -> MqttBroker:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise TimeoutError(f"no broker within {TIMEOUT:g} s: {self._command}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> MqttBroker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
