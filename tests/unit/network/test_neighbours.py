# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether gateways answer: the kernel is given the time that it takes to find out, and no more."""
from __future__ import annotations

import json
from typing import Any, cast

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import host as host_module
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result, Runner

from tests.unit.network import hosts

GATEWAY, GATEWAY6 = "10.9.0.254", "fd00:9::fe"
NETWORK = hosts.network(bridges=[hosts.BRIDGE | {"addresses": ["10.9.0.1/24", "fd00:9::1/64"], "gateway": GATEWAY, "gateway6": GATEWAY6}])


class Kernel:
    """Declared fake: `ip neigh` gives the next of these answers, the last one again and again; time passes by `sleep` alone."""

    def __init__(self, *answers: dict[str, str]) -> None:
        self.answers = list(answers)
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def read(self, argv: list[str], ok: Any = (0,), data: str | None = None) -> Result:
        assert argv == ["ip", "-j", "neigh", "show", "dev", "xenbr0"]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Result(0, json.dumps([{"dst": address, "state": [state]} for address, state in answer.items()]), "")


@pytest.mark.parametrize(("answers", "found", "seconds"), [
    # On a quiet host the kernel knows the gateway from earlier, and waits before it asks again.
    ([{GATEWAY: "DELAY"}] * 10 + [{GATEWAY: "PROBE"}, {GATEWAY: "REACHABLE"}], {GATEWAY: "REACHABLE"}, 6),
    ([{GATEWAY: "REACHABLE", GATEWAY6: "DELAY"}, {GATEWAY: "REACHABLE", GATEWAY6: "REACHABLE"}],
     {GATEWAY: "REACHABLE", GATEWAY6: "REACHABLE"}, 1),
    ([{GATEWAY: "INCOMPLETE"}, {GATEWAY: "FAILED"}], {GATEWAY: "FAILED"}, 1),
    ([{}], {}, 0.5),
    ([{GATEWAY: "REACHABLE", "10.9.0.7": "STALE"}], {GATEWAY: "REACHABLE", "10.9.0.7": "STALE"}, 0.5),
    ([{GATEWAY: "PROBE"}], {GATEWAY: "PROBE"}, 9),
])
def test_the_kernel_is_given_time(
    answers: list[dict[str, str]], found: dict[str, str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(*answers)
    monkeypatch.setattr(host_module.time, "sleep", kernel.sleep)
    monkeypatch.setattr(Host, "_probed", staticmethod(lambda _gateway, _device: True))
    assert Host(cast(Runner, kernel))._neighbours(NETWORK) == found
    assert kernel.seconds == seconds


def test_without_a_gateway_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setattr(host_module.time, "sleep", kernel.sleep)
    assert Host(cast(Runner, kernel))._neighbours(hosts.network()) == {}
    assert kernel.seconds == 0
