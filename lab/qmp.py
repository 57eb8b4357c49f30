# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of QEMU's machine protocol (QMP): JSON lines over a Unix socket.

Source: QEMU documentation, "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.errors import LabError


class Qmp:
    """One connection. Use as a context manager; every call is bounded by `timeout` seconds."""

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout
        self._events: list[dict[str, Any]] = []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        # A socket's address holds 107 bytes; a deep checkout has longer paths. The folder's descriptor shortens it.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError as error:
            self._socket.close()
            raise LabError(f"{path}: QEMU does not answer ({error.strerror})") from None
        finally:
            os.close(folder)
        self._message()
        self.execute("qmp_capabilities")

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def execute(self, name: str, arguments: dict[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Run a command and return its value; an error of QEMU becomes a LabError."""
        self._socket.settimeout(timeout or self._timeout)
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while True:
                message = self._message()
                if "event" in message:
                    self._events.append(message)
                elif "error" in message:
                    raise LabError(f"QEMU refuses {name}: {message['error'].get('desc')}")
                else:
                    return message.get("return")
        except TimeoutError:
            raise LabError(f"{self._path}: QEMU did not answer {name} within {timeout or self._timeout:.0f} s") from None
        except OSError as error:
            raise LabError(f"{self._path}: connection lost during {name} ({error.strerror})") from None

    def monitor(self, line: str, timeout: float | None = None) -> str:
        """Run a line of the human monitor and return what it prints."""
        return str(self.execute("human-monitor-command", {"command-line": line}, timeout)).strip()

    def wait_event(self, name: str, key: str, value: str, timeout: float) -> bool:
        """Whether an event with `data[key] == value` comes (or came on this connection) within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            for event in self._events:
                if event["event"] == name and event.get("data", {}).get(key) == value:
                    return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._socket.settimeout(left)
            try:
                message = self._message()
            except TimeoutError:
                return False
            if "event" in message:
                self._events.append(message)

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self._socket.recv(65536)
            if not data:
                raise LabError(f"{self._path}: QEMU closed the connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message
