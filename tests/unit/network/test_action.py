# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control node's half of a change, on recorded answers of the modules. Declared fake: the modules, the connection, the clock."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.xenfold.consolidation.plugins.action import network

CHANGED = {"changed": True, "unsettled": False}
HOLDS = {"step": "armed", "unmet": []}
MISSING = {"step": "armed", "unmet": ["bond 'bond0': is not there"]}
CONFIRMED = {"changed": True, "step": "confirmed", "unmet": []}
BACK = {"changed": True, "step": "restored", "unmet": []}
LATE = {"failed": True, "changed": False, "step": "restored", "unmet": [],
        "msg": "state: value 'confirmed' came too late: the guard is at 'restored'"}
SLOW = {"failed": True, "changed": True, "step": "restoring", "unmet": [], "msg": "state: value 'restored' did not come about"}
BROKEN = {"failed": True, "msg": "MODULE FAILURE"}
GONE = AnsibleConnectionFailure("no route")


def run(monkeypatch: pytest.MonkeyPatch, module: list[Any], answers: dict[str, list[Any]]) -> tuple[dict[str, Any], list[str]]:
    """Run the action. module: answers of the network module; answers: those of the guard by state, the last one stays."""
    now, asked = [0.0], []
    action = object.__new__(network.ActionModule)

    def execute(name: str, arguments: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
        waiting = module if name == network.MODULE else answers[arguments["state"]]
        if name == network.GUARD:
            asked.append(arguments["state"])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        if answer.get("step") in ("armed", "restoring"):
            now[0] += arguments.get("wait_seconds", 0)
        return dict(answer)

    monkeypatch.setattr(network.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(network.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    action._execute_module = execute  # type: ignore[method-assign]
    action._task = SimpleNamespace(check_mode=False)
    action._connection = SimpleNamespace(reset=lambda: None)
    return action._change({"host": "net1", "confirm_seconds": 90}, {}), asked


def test_a_change_that_holds_is_confirmed(monkeypatch):
    result, asked = run(monkeypatch, [CHANGED], {"checked": [MISSING, GONE, HOLDS], "confirmed": [CONFIRMED]})
    assert result == {**CHANGED, "confirmed": True}
    assert asked == ["checked", "checked", "checked", "confirmed"]


@pytest.mark.parametrize(("answers", "says", "back"), [
    ({"checked": [MISSING], "restored": [BACK]}, ["did not hold: bond 'bond0': is not there. The old network is back."], True),
    ({"checked": [HOLDS], "confirmed": [LATE], "restored": [BACK]},
     ["did not hold: state: value 'confirmed' came too late", "is back"], True),
    ({"checked": [HOLDS], "confirmed": [LATE], "restored": [SLOW, SLOW, BACK]}, ["came too late", "The old network is back."], True),
    ({"checked": [MISSING], "restored": [SLOW]}, ["is not there", "did not come back in time (state: value 'restored' did not"], False),
    ({"checked": [HOLDS], "confirmed": [BROKEN, CONFIRMED]}, [], None),
    ({"checked": [GONE], "restored": [GONE, SLOW, BACK]}, ["could not be reached over a new connection (no route)", "is back"], True),
])
def test_an_answer_of_the_guard_that_fails_is_read_by_its_step(monkeypatch, answers, says, back):
    result, _asked = run(monkeypatch, [CHANGED], answers)
    assert all(text in result.get("msg", "") for text in says), result
    assert result.get("restored") is back
    assert result.get("failed", False) is (back is not None)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"backend": "netplan"}, "network_backend: value 'netplan', allowed networkd, ifupdown"),
    ({"mtu_peers": ["xen02"]}, "network_mtu_peers[0]: value 'xen02', allowed the IP address of another machine"),
    ({"backend": "ifupdown", "bridges": [{"name": "br.0"}]}, "bridge 'br.0': name: value 'br.0', allowed a name without a dot"),
])
def test_what_is_wrong_is_said_before_the_host_is_asked(arguments, says):
    action = object.__new__(network.ActionModule)
    action._task = SimpleNamespace(args={"host": "net1", **arguments}, check_mode=False, async_val=0)
    action._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/nowhere"))
    with pytest.raises(AnsibleActionFail) as caught:
        action.run(None, {})
    assert f"Network of net1: {says}" in str(caught.value)


@pytest.mark.parametrize(("restored", "says"), [
    ([SLOW, BACK], ""),
    ([{**SLOW, "step": "armed"}, BACK], ""),
    ([SLOW], "the old network did not come back (state: value 'restored' did not come about)"),
    ([{**SLOW, "step": "confirmed", "msg": "state: value 'restored' came too late"}],
     "did not come back (state: value 'restored' came too late)"),
])
def test_an_unconfirmed_change_is_settled_first(monkeypatch, restored, says):
    module = [{"changed": True, "unsettled": True}, CHANGED]
    answers = {"restored": restored, "checked": [HOLDS], "confirmed": [CONFIRMED]}
    if not says:
        assert run(monkeypatch, module, answers)[0] == {**CHANGED, "confirmed": True}
        return
    with pytest.raises(AnsibleActionFail) as caught:
        run(monkeypatch, module, answers)
    assert says in str(caught.value)
