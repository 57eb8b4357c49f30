# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A hub for the data NICs of three and more hosts: what comes from one host goes to all others on the same link.

QEMU's own way to join many, a multicast group, hands every sender its own frames back, which makes bridges learn wrong
ports. As on a real hub, LACP finds several partners here and aggregates with none of them.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path


def routes(record: dict[str, dict[str, list[int]]], link: int) -> dict[int, list[int]]:
    """Sender's port -> the ports of all others, for one link (from 0)."""
    ports = [record["udp_ports"][host][link] for host in sorted(record["udp_ports"])]
    return {port: [other for other in ports if other != port] for port in ports}


def serve(spec_file: Path) -> None:
    record = json.loads(spec_file.read_text(encoding="utf-8"))
    selector = selectors.DefaultSelector()
    for link, port in enumerate(record["hub_ports"]):
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**21)
        end.bind(("127.0.0.1", port))
        end.setblocking(False)
        selector.register(end, selectors.EVENT_READ, routes(record, link))
    while True:
        for key, _ in selector.select():
            end = key.fileobj  # type: ignore[assignment]
            try:
                frame, (_, sender) = end.recvfrom(70000)
            except OSError:
                continue
            for port in key.data.get(sender, ()):
                try:
                    end.sendto(frame, ("127.0.0.1", port))
                except OSError:
                    continue


def main(pidfile: str, spec_file: str) -> None:
    """Go to the background, write the pid file, serve until killed."""
    child = os.fork()
    if child:
        Path(pidfile).write_text(f"{child}\n", encoding="ascii")
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    serve(Path(spec_file))


if __name__ == "__main__":
    main(*sys.argv[1:])
