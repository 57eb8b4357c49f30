# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plain Debian host has become a Xen host that was booted by its own GRUB."""
from __future__ import annotations

import re


def test_this_is_dom0(host):
    assert "control_d" in host.file("/proc/xen/capabilities").content_string


def test_xen_runs_with_what_was_asked(host):
    words = host.check_output("xl info xen_commandline").split()
    assert {"dom0_mem=896M,max:896M", "dom0_max_vcpus=1", "cpuidle=0"} <= set(words)
    name, _domid, memory, vcpus, *_ = host.check_output("xl list").splitlines()[1].split()
    assert name == "Domain-0"
    assert abs(int(memory) - 896) <= 16
    assert vcpus == "1"


def test_dom0_does_not_shrink(host):
    assert 'autoballoon="off"' in host.file("/etc/xen/xl.conf").content_string


def test_the_next_boot_starts_xen_too(host):
    menu = host.file("/boot/grub/grub.cfg").content_string
    assert 'set default="Debian GNU/Linux, with Xen hypervisor"' in menu
    assert "dom0_mem=896M,max:896M" in menu


def test_guests_are_shut_down_never_saved(host):
    settings = host.file("/etc/default/xendomains").content_string
    assert 'XENDOMAINS_SAVE=""' in settings
    assert "XENDOMAINS_RESTORE=false" in settings


def test_console_logs_are_on(host):
    assert "--log=guest" in host.check_output("ps -C xenconsoled -o args=")
    assert host.file("/var/log/xen/console").is_directory


def test_chrony_keeps_the_time_with_our_server_beside_the_others(host):
    state = host.check_output("systemctl show --property=ActiveState --property=UnitFileState chrony.service").split()
    assert {"ActiveState=active", "UnitFileState=enabled"} <= set(state)
    assert "Reference ID" in host.check_output("chronyc tracking")
    # The power cut had emptied it.
    host.check_output("cmp /etc/chrony/chrony.conf /usr/share/chrony/chrony.conf")
    assert "10.0.2.2" in [line.split(",")[2] for line in host.check_output("chronyc -N -c sources").splitlines()]


def test_the_packet_filter_was_loaded_before_sshd_came_and_lets_us_in(host):
    # Nobody but the host's start has loaded it since the reboot, so this connection has passed it.
    times = [
        int(host.check_output(f"systemctl show --property=ActiveEnterTimestampMonotonic --value {unit}"))
        for unit in ("xenfold-firewall.service", "ssh.service")
    ]
    assert 0 < times[0] < times[1]
    table = host.check_output("nft list table inet xenfold")
    assert "hook input" in table and "policy drop" in table
    assert "ip saddr 10.0.2.0/24 tcp dport 22 accept" in table.replace("{ ", "").replace(" }", "")


def test_the_packet_filter_is_the_only_table_and_says_nothing_of_guests(host):
    assert host.check_output("nft list tables").splitlines() == ["table inet xenfold"]
    assert "hook forward" not in host.check_output("nft list ruleset")


def test_packages_of_xen_are_held_and_no_others(host):
    held = host.check_output("apt-mark showhold").split()
    assert any(name.startswith("xen-hypervisor-4") for name in held) and "xen-system-amd64" in held
    assert all(name.startswith(("xen-", "libxen")) for name in held)


def test_nothing_of_the_run_that_was_cut_off_is_left_half_done(host):
    assert host.check_output("dpkg --audit") == ""
    # Every file is as its package has it, none of them empty. The image leaves documentation out.
    packages = host.check_output("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").splitlines()
    names = [line.split()[0] for line in packages if "xen" in line and line.endswith(" installed")]
    left_out = tuple(f"/usr/share/{folder}" for folder in ("doc", "info", "locale", "man"))
    wrong = [line for line in host.run("dpkg --verify " + " ".join(names)).stdout.splitlines()
             if " c /" not in line and not line.split()[-1].startswith(left_out)]
    assert wrong == []
    assert not host.file("/boot/grub/grub.cfg.new").exists


def test_the_array_came_through_the_reboot_under_its_name(host):
    name = host.check_output("basename $(readlink -f /dev/md/guests)")
    # Nobody has written to it since.
    assert re.search(rf"^{name} : active (\(auto-read-only\) )?raid1", host.file("/proc/mdstat").content_string, re.MULTILINE)
    assert host.check_output("vgs --noheadings -o pv_name vg_guests").strip().startswith("/dev/md")
    # Whoever puts it together first, in the initial file system, knows its name too.
    conf = host.file("/etc/mdadm/mdadm.conf").content_string
    image = host.check_output("ls /boot/initrd.img-$(uname -r)")
    host.check_output(f"rm -rf /tmp/unpacked && unmkinitramfs {image} /tmp/unpacked")
    unpacked = host.check_output("find /tmp/unpacked -path '*etc/mdadm/mdadm.conf'").split()
    assert len(unpacked) == 1
    wanted = [line for line in conf.splitlines() if line.startswith("ARRAY ")]
    assert wanted and wanted == [line for line in host.file(unpacked[0]).content_string.splitlines() if line.startswith("ARRAY ")]
