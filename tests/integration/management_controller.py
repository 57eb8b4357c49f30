# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A management controller that speaks IPMI 2.0 over UDP, for a host that is a file: python3 management_controller.py PORT FILE.

The file holds `on` or `off`; without it the host is off. A host that is asked to shut down does so by itself, so nothing happens here.
"""
from __future__ import annotations

import sys
from pathlib import Path

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private.serversession import ServerSession

_SHA256, _NO_CIPHER_SUITE = 3, 0x11
_open_session = ServerSession.create_open_session_response


def _refuse_sha256(session: ServerSession, request: bytes) -> bytearray:
    """pyghmi's server knows SHA-1 alone, and does not say so; its client then offers that."""
    if request[12] == _SHA256:
        return bytearray([request[0], _NO_CIPHER_SUITE, 0, 0]) + request[4:8]
    return _open_session(session, request)


ServerSession.create_open_session_response = _refuse_sha256


class Controller(Bmc):
    def __init__(self, port: int, file: Path) -> None:
        super().__init__({"admin": "secret"}, port=port, address="127.0.0.1")
        self.file = file

    def get_power_state(self) -> str:
        return self.file.read_text(encoding="ascii").strip() if self.file.exists() else "off"

    def power_on(self) -> int:
        self.file.write_text("on", encoding="ascii")
        return 0

    def power_shutdown(self) -> int:
        return 0


if __name__ == "__main__":
    controller = Controller(int(sys.argv[1]), Path(sys.argv[2]))
    print("ready", flush=True)
    controller.listen()
