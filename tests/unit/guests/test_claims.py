# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that two controllers would start on two hosts at once. Peers are commands here, in place of SSH to them."""
from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply, claims, host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError

from tests.unit import command_cases

HEADING = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"


@pytest.fixture(name="run", autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(guard, "CONFIG", str(tmp_path / "guard.json"))
    monkeypatch.setattr(guard, "STARTING", str(tmp_path / "starting"))
    monkeypatch.setattr(guard, "CAPABILITIES", str(tmp_path / "none"))
    monkeypatch.setattr(guard, "CREATING", str(tmp_path / "creating"))
    monkeypatch.setattr(guard, "ASK_SECONDS", 1.0)
    monkeypatch.setattr(claims, "_LOOK_SECONDS", 0.2)
    return tmp_path


def peer(name: str, runs: Collection[str] = (), starts: Collection[str] = (), code: int = 0) -> dict[str, Any]:
    told = shlex.quote(json.dumps({"runs": sorted(runs), "starts": sorted(starts), "busy": True}))
    return {"name": name, "command": ["sh", "-c", f"echo {told}; exit {code}"]}


def settings(run: Path, *peers: dict[str, Any]) -> None:
    (run / "guard.json").write_text(json.dumps({"guests": ["db01", "web01"], "peers": peers, "wait_seconds": 300}))


def test_others_see_what_is_being_started_while_it_lasts(run: Path) -> None:
    assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == []
    with claims.held(["web01", "db01"]):
        assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == ["db01", "web01"]
        with pytest.raises(GuestError, match="guest 'db01': another run is just starting it"), claims.held({"db01"}):
            pass
    assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == []
    # A look is no start.
    with open(run / "starting" / "web01", "rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        with pytest.raises(GuestError, match="another run"), claims.held(["web01"]):
            pass
    with claims.held(["web01"]):
        pass
    # The xl that creates it goes on when the run is killed.
    (run / "creating").mkdir()
    with open(run / "creating" / "web01", "wb") as creating:
        fcntl.flock(creating, fcntl.LOCK_EX)
        assert guard.tell(str(run / "auto"), str(run / "claims"))["runs"] == ["web01"]


@pytest.mark.parametrize(("peers", "text"), [
    ([peer("xen02", ["web01"]), peer("xen03")], "guest 'web01': xen02 runs or starts it"),
    ([peer("xen02", ["local01"]), peer("xen03")], "guest 'local01': xen02 runs or starts it"),
    ([peer("xen02", ["web01"]), peer("xen03", code=255)],
     "guest 'web01': xen02 runs or starts it; guests db01, web01: xen03 could not be asked by this host whether they run there;"),
])
def test_no_guest_starts_that_another_host_has(run: Path, peers: list[dict[str, Any]], text: str) -> None:
    settings(run, *peers)
    assert "; ".join(claims.against(["web01", "db01", "local01"])).startswith(text)


def test_what_does_not_keep_a_guest_from_starting(run: Path) -> None:
    assert claims.against(["web01"]) == []
    # Another guest; a link, of which the controller was told; a plan that is carried out, which may be this one.
    settings(run, peer("xen02", ["db01"], ["web01"]))
    assert claims.against(["web01", "local01"]) == []
    # A guest with disks of its own is not on a host that does not answer: it has none of them.
    settings(run, peer("xen02", code=255))
    assert claims.against(["local01"]) == []


def test_one_that_is_called_too_often_is_asked_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ASK_SECONDS", 30.0)
    first = f"test -e {run}/asked || {{ touch {run}/asked; exit 255; }}; "
    busy = peer("xen02")
    settings(run, {**busy, "command": ["sh", "-c", first + busy["command"][2]]})
    assert claims.against(["web01"]) == []
    assert (run / "asked").exists()


def test_nothing_is_changed_when_another_host_has_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(run, peer("xen02", ["web01"]))
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    monkeypatch.setattr(host, "missing", lambda needs: frozenset())
    monkeypatch.setattr(apply, "scratch", lambda: contextlib.nullcontext(str(run)))
    guest = {"name": "web01", "memory_mib": 128, "boot": {"kernel": "/vmlinuz"}, "autostart": 10}
    result = command_cases.run("xl_guest", {
        "input": {"guests": [guest], "config_dir": str(run / "guests"), "autostart_dir": str(run / "auto")},
        "run": [{"command": ["xl", "list"], "out": HEADING}, {"command": ["xl", "create", "--dryrun", "--quiet", f"{run}/web01.cfg"]}],
        "output": {"failed": True, "changed": False}})
    assert result["msg"] == "No guest was changed: guest 'web01': xen02 runs or starts it"
    assert result["obstacles"] == ["guest 'web01': xen02 runs or starts it"]
    assert not (run / "guests").exists() and not (run / "auto").exists()
