# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power is cut while GRUB's menu is written, in the middle of Xen's installation; what was not flushed is lost."""
from __future__ import annotations

from cut import HOST, Host
from scene import Point

POINT = Point(
    "dom0", HOST, "playbooks/provision.yml", {}, "pgrep -f '[g]rub-mkconfig'",
    (
        "grep -q control_d /proc/xen/capabilities",
        "xl info xen_commandline | grep -q dom0_mem=896M,max:896M",
        "! test -e /boot/grub/grub.cfg.new",
        "! test /etc/default/grub.d/00-xenfold.cfg -nt /boot/grub/grub.cfg",
        'test -z "$(dpkg --audit)"',
        # Every file is as its package has it, none of them empty. The image leaves documentation out.
        "! dpkg --verify $(dpkg-query -W -f '${Package}\\n' | grep xen) | grep -v ' c /' | grep -Ev '/usr/share/(man|doc|locale|info)/'",
    ),
    words=("--tags", "dom0"),
)


def test_a_host_whose_menu_was_being_written_boots_and_is_finished(bare: Host) -> None:
    bare.run(HOST, "echo kept > /root/durable && sync /root/durable /root")
    bare.lose_power(POINT)
    assert bare.run(HOST, "cat /root/durable") == "kept"
    bare.finish(POINT)
    bare.holds(HOST, *POINT.holds)
