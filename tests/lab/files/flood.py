# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fills a network: `flood.py take PORT` swallows what comes, `flood.py send ADDRESS PORT NUMBER` sends for ever over NUMBER connections."""
from __future__ import annotations

import socket
import socketserver
import sys
import threading


class Swallow(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(65536):
            pass


def send(address: str, port: int) -> None:
    with socket.create_connection((address, port)) as stream:
        while True:
            stream.sendall(bytes(65536))


if sys.argv[1] == "take":
    with socketserver.ThreadingTCPServer(("", int(sys.argv[2])), Swallow) as server:
        server.serve_forever()
else:
    threads = [threading.Thread(target=send, args=(sys.argv[2], int(sys.argv[3]))) for _number in range(int(sys.argv[4]))]
    for thread in threads:
        thread.start()
