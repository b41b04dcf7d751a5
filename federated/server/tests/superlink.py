"""A SuperLink on localhost and runs of the app on it, for tests."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from commands import command

APP = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent


def free_port() -> int:
    """One of those that no system gives to who asks for any, so that none is taken before the SuperLink has it."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class SuperLink:
    """Keeps nothing when it is stopped; nodes that go on register anew."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        home = folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "local"\n'
            f'[superlink.local]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        # How often it looks for a run to start.
        hasty = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2"}
        self._environment = {**os.environ, **quiet, **hasty, "FLWR_HOME": str(home), "PATH": path}
        self.start()

    def start(self) -> None:
        command = [
            SCRIPTS / "flower-superlink",
            "--insecure",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command.append("--disable-runtime-dependency-installation")
        self.log = self._folder / "superlink.log"
        with self.log.open("ab") as log:
            # A session of its own, so that the app's processes end with it.
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                httpx.get(self.url, timeout=1)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        raise TimeoutError(f"the SuperLink did not start: {self.log.read_text()}")

    def run(self, **config: str | bool) -> str:
        """Starts a run of the app; its id."""
        text = " ".join(f"{name}={json.dumps(value)}" for name, value in config.items())
        with mock.patch.dict(os.environ, self._environment):
            code, out = command("run", str(APP), "local", "--run-config", text, "--format", "json")
        answer: dict[str, Any] = json.loads(out) if code == 0 else {}
        if not answer.get("success"):
            raise RuntimeError(f"flwr run ended with {code}: {out}")
        return str(answer["run-id"])

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
