# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the answers of systemd are read."""
from __future__ import annotations

from ansible_collections.xenfold.consolidation.plugins.module_utils import systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


class Module:
    """Answers every command with `said`, and keeps the last one."""

    def __init__(self, said: str) -> None:
        self.said, self.argv = said, list[str]()

    def run_command(self, argv: list[str], **_options: object) -> tuple[int, str, str]:
        self.argv = argv
        return 0, self.said, ""


def test_properties_of_units_in_their_order() -> None:
    module = Module("ActiveState=active\nEnvironment=PYTHONPATH=/usr\n\nActiveState=inactive\nEnvironment=\n")
    found = systemd.show(Runner(module), "ActiveState,Environment", "b.service", "a.timer", options=["--timestamp=unix"])
    assert found == [{"ActiveState": "active", "Environment": "PYTHONPATH=/usr"}, {"ActiveState": "inactive", "Environment": ""}]
    assert module.argv == ["systemctl", "show", "--timestamp=unix", "--property=ActiveState,Environment", "b.service", "a.timer"]
    # One unit is always answered, also where nothing is told.
    assert systemd.show(Runner(Module("")), "ActiveState", "a.timer") == [{}]
