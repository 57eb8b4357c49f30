# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power is cut while GRUB's menu is written, in the middle of Xen's installation; the scenario's next steps finish it."""
from __future__ import annotations

from pathlib import Path

from tests.lab.hands import Point
from tests.lab.powercut import HOST, Host

RUN = Point("dom0", HOST, "playbooks/provision.yml", {}, "pgrep -f '[g]rub-mkconfig'", (), words=("--tags", "dom0"))


def test_a_host_whose_menu_was_being_written_boots() -> None:
    host = Host("dom0", Path(__file__).resolve().parents[1] / "inventory", "/dev/null")
    host.run(HOST, "echo kept > /root/durable && sync /root/durable /root")
    host.lose_power(RUN)
    assert host.run(HOST, "cat /root/durable") == "kept"
    # It was cut off for certain: Xen is not what runs.
    assert host.ask(HOST, "grep -q control_d /proc/xen/capabilities").returncode != 0
    # A script of chrony's package makes it and does not wait for the disk: whether it is lost is a matter of seconds, here it is for
    # certain.
    host.run(HOST, ": > /etc/chrony/chrony.conf")
    host.drop_connections()
