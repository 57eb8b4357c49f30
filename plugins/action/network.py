# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control node's half of a network change: it reaches the host anew and confirms, or sees the old network back."""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_description

MODULE = "xenfold.consolidation.network"
GUARD = "xenfold.consolidation.network_guard"
# After the guard has acted: networkd or ifupdown starts anew and addresses settle.
RESTORE_SECONDS = 120
CONNECT_SECONDS = 20
APPLY_SECONDS = 5
UNCONFIRMED = "An earlier change of the network was not confirmed"
CONSOLE = "look at the host's console; the old files are in /var/lib/xenfold/network/saved"
display = Display()


class ActionModule(ActionBase):
    """Runs the module, then judges the change over a connection of its own."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Arm and apply, confirm, or let the old network come back and say why."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        lists = {key: arguments.get(key) or [] for key in ("mtu_peers", "bonds", "vlans", "bridges")}
        errors = check_description(arguments.get("backend") or "networkd", **lists)
        if errors:
            raise AnsibleActionFail(f"Network of {arguments.get('host')}: {'; '.join(errors)}")
        # A host that cannot be reached at all is found out here, before anything could have changed.
        self._low_level_execute_command("true")
        with self._single_attempts():
            return self._change(arguments, task_vars or {})

    def _change(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        seconds = 90 if arguments.get("confirm_seconds") is None else arguments["confirm_seconds"]
        if isinstance(seconds, bool) or not str(seconds).isdecimal():
            raise AnsibleActionFail(
                f"Network of {arguments.get('host')}: confirm_seconds: value {seconds!r}, allowed a whole number, 30 or more")
        confirm_seconds = int(seconds)
        lost: AnsibleConnectionFailure | None = None
        settled = False
        try:
            result = self._execute_module(MODULE, arguments, task_vars=task_vars)
            if result.get("unsettled") and not self._task.check_mode:
                self._settle(arguments, task_vars)
                settled = True
                result = self._execute_module(MODULE, arguments, task_vars=task_vars)
        except AnsibleConnectionFailure as failure:
            # The answer may have been lost with the network beneath it; the guard knows whether anything was armed.
            result, lost = {"changed": True}, failure
        if result.get("failed") or not result.get("changed") or self._task.check_mode:
            return result | ({"changed": True} if settled else {})
        deadline = time.monotonic() + confirm_seconds
        # A connection opened before the change proves nothing and may hang when the network beneath it goes.
        time.sleep(APPLY_SECONDS)
        verdict = self._ask("checked", deadline, task_vars)
        if lost and verdict.get("reached") and verdict.get("step") not in ("armed", "restoring", "restored"):
            # Nothing was armed: the connection broke before the change.
            raise lost
        if verdict.get("step") == "armed" and not verdict.get("unmet"):
            # The host has said that the change is made; only a connection opened after that confirms it.
            verdict = self._ask("confirmed", deadline, task_vars)
            if verdict.get("step") == "confirmed":
                return result | {"confirmed": True}
        return result | self._take_back(arguments, verdict, deadline, task_vars)

    def _settle(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> None:
        """Let the network of before an unconfirmed change of an earlier run come back."""
        display.display(f"<{arguments.get('host')}> {UNCONFIRMED}: the old network comes back first")
        verdict = self._ask("restored", time.monotonic() + RESTORE_SECONDS, task_vars)
        if verdict.get("step") != "restored":
            raise AnsibleActionFail(f"{UNCONFIRMED}, and the old network did not come back ({self._why(verdict)}): {CONSOLE}")

    def _take_back(
        self, arguments: dict[str, Any], verdict: dict[str, Any], deadline: float, task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        why = self._why(verdict)
        last = self._ask("restored", max(deadline, time.monotonic()) + RESTORE_SECONDS, task_vars)
        back = last.get("step") == "restored"
        message = (f"The new network of {arguments.get('host')} did not hold: {why}. "
                   + ("The old network is back." if back else
                      f"The old network did not come back in time ({self._why(last)}): {CONSOLE}"))
        return {"failed": True, "msg": message, "changed": not back, "confirmed": False, "restored": back,
                "unmet": verdict.get("unmet", [])}

    def _why(self, verdict: dict[str, Any]) -> str:
        """The last trouble that an answer, or the lack of one, told of; the guard may have acted since."""
        return str(verdict["trouble"] or f"the guard is at '{verdict.get('step')}'")

    def _ask(self, state: str, deadline: float, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Ask for `state` of the guard, each time over a new connection, until the answer is final or the time is over.

        Returns the last answer with `reached`, and with the last `unmet` and `trouble` (a text) that any of the answers told of.
        """
        answer: dict[str, Any] = {"reached": False, "unmet": [], "trouble": ""}
        while True:
            self._connection.reset()
            wait_seconds = max(1, int(min(deadline - time.monotonic(), 30)))
            try:
                got = self._execute_module(GUARD, {"state": state, "wait_seconds": wait_seconds}, task_vars=task_vars)
                # The module fails when what was asked for did not come about; the step it is at tells what follows from that.
                said = got.get("failed") or "step" not in got
                trouble = "; ".join(got.get("unmet", [])) or (str(got.get("msg", "")) if said else "")
                answer = {**got, "reached": True, "unmet": got.get("unmet") or answer["unmet"], "trouble": trouble or answer["trouble"]}
                waiting = got.get("step") in ("armed", "restoring") and (state == "restored" or bool(got.get("unmet")))
                if "step" in got and not waiting:
                    # Nothing is unmet any more when the guard still stands; when it has acted, the last trouble is why.
                    return answer if got["step"] != "armed" else {**answer, "unmet": [], "trouble": ""}
            except AnsibleConnectionFailure as failure:
                lost = f"the host could not be reached over a new connection ({str(failure.message).strip()})"
                answer = {**answer, "reached": False, "trouble": lost}
            # The last seconds belong to the decision to go back, which has to arrive before the guard acts by itself.
            if time.monotonic() >= deadline - (0 if state == "restored" else 7):
                return answer
            time.sleep(2)

    @contextmanager
    def _single_attempts(self) -> Iterator[None]:
        """No retries beneath this plugin: a lost answer must not make a change run twice, and every wait is its own."""
        options = {"reconnection_retries": 0, "timeout": CONNECT_SECONDS}
        before = {}
        for name, value in options.items():
            try:
                before[name] = self._connection.get_option(name)
                self._connection.set_option(name, value)
            except KeyError:
                continue
        try:
            yield
        finally:
            for name, value in before.items():
                self._connection.set_option(name, value)
