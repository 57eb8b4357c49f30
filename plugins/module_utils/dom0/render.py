# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the dom0 role writes on a host, as pure functions of its settings."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall as packet_filter
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0.versions import minor_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import MEMORY_MIB, VCPUS, in_range, range_allowed
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile

GRUB_DROP_IN = "/etc/default/grub.d/00-xenfold.cfg"
XL_CONF = "/etc/xen/xl.conf"
XENDOMAINS = "/etc/default/xendomains"
XENDOMAINS_UNIT = "/etc/systemd/system/xendomains.service.d/xenfold.conf"
XEN_DEFAULTS = "/etc/default/xen"
WEIGHT_UNIT = "xenfold-dom0-weight.service"
WEIGHT_FILE = f"/etc/systemd/system/{WEIGHT_UNIT}"
WEIGHT_LINK = f"/etc/systemd/system/multi-user.target.wants/{WEIGHT_UNIT}"
WEIGHT, DEFAULT_WEIGHT = (1, 65535), 256
"""Weights that credit2 takes, and that of every domain that nobody gave one."""
LOGROTATE = "/etc/logrotate.d/xenfold-guests"
CONSOLE_LOGS = "/var/log/xen/console"
XENCONSOLED_WORDS = ("--log=guest", "--timestamp=guest", f"--log-dir={CONSOLE_LOGS}")
CHRONY_SOURCES = "/etc/chrony/sources.d/xenfold.sources"
CHRONY_CONF = "/etc/chrony/chrony.conf"
CHRONY_DEFAULT = "/usr/share/chrony/chrony.conf"
"""From which its package makes it."""
CHRONY_LOADED = "/var/lib/xenfold/dom0/chrony.sources"
"""A copy of the sources that chronyd was told to read last; a run that was cut off before that is known by it."""

_HEADER = "# Managed by Ansible: xenfold.consolidation, role dom0. Changes made here are overwritten.\n"

WAIT_SECONDS = (1, 86400)
"""xendomains takes 0 for no end at all: a guest that hangs would keep its host from shutting down."""

# Words that a shell reads from the drop-in inside double quotes.
_NTP_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
_SAFE_WORD = re.compile(r"[A-Za-z0-9_.,:;=+@%/^~\[\]{}()*?!<>|&#-]+")
OWN_KEYS = ("dom0_mem", "dom0_max_vcpus", "dom0_vcpus_pin")


@dataclass(frozen=True)
class Settings:
    """The dom0 settings of a host.

    memory_mib, vcpus: fixed size of dom0; vcpus_pin: pin dom0's vCPUs to the same-numbered CPUs;
    xen_options, linux_options: further words for the command lines of Xen and of the dom0 kernel;
    xl_options: settings of xl.conf (text, number or boolean);
    guest_logs: whether guests' consoles are logged; time: `none` (left alone) or `chrony`; ntp_servers: names or addresses, for chrony;
    hold: whether Xen's packages are held, None leaves that alone; firewall: the packet filter of dom0;
    weight: of dom0 in Xen's scheduler credit2, None is the default one;
    pool_xen_versions: host -> version of Xen of the other hosts of the pool; allow_version_skew: consent to another version here.
    """

    memory_mib: int
    vcpus: int
    vcpus_pin: bool = False
    xen_options: tuple[str, ...] = ()
    linux_options: tuple[str, ...] = ()
    xl_options: dict[str, str | int | bool] = field(default_factory=dict)
    shutdown_wait_seconds: int = 300
    guest_logs: bool = True
    time: str = "none"
    ntp_servers: tuple[str, ...] = ()
    hold: bool | None = None
    firewall: packet_filter.Firewall = field(default_factory=packet_filter.Firewall)
    weight: int | None = None
    pool_xen_versions: dict[str, str] = field(default_factory=dict)
    allow_version_skew: bool = False

    def packages(self, names: Iterable[str]) -> list[str]:
        """The packages that are wanted: those named, and those that the settings need."""
        needed = (["chrony"] if self.time == "chrony" else []) + (["nftables"] if self.firewall.enabled else [])
        return list(dict.fromkeys([*names, *needed]))


def _wrong(key: str, value: object, allowed: str) -> str:
    return f"{key}: value {value!r}, allowed {allowed}"


def _server_ok(server: Any) -> bool:
    if not isinstance(server, str):
        return False
    if _NTP_SERVER.fullmatch(server):
        return True
    # Such as ::1. A zone may be any text.
    try:
        return "%" not in server and bool(ipaddress.ip_address(server))
    except ValueError:
        return False


def check(settings: Settings) -> list[str]:
    """Errors of the settings, each with key, value and what is allowed. Sources: xen-command-line, xl.conf(5)."""
    ranges = (("memory_mib", MEMORY_MIB, "MiB"), ("vcpus", VCPUS, ""), ("shutdown_wait_seconds", WAIT_SECONDS, "seconds"))
    errors = [
        _wrong(key, getattr(settings, key), range_allowed(low, high, unit))
        for key, (low, high), unit in ranges if not in_range(getattr(settings, key), low, high)
    ]
    if settings.weight is not None and not in_range(settings.weight, *WEIGHT):
        errors.append(_wrong("weight", settings.weight, range_allowed(*WEIGHT)))
    schedulers = [word for word in settings.xen_options if isinstance(word, str) and word.startswith("sched=")]
    if settings.weight is not None and schedulers and schedulers[-1] != "sched=credit2":
        errors.append(_wrong("weight", settings.weight, f"none with {schedulers[-1]} in xen_options: Xen's scheduler credit2 alone has it"))
    for key, words in (("xen_options", settings.xen_options), ("linux_options", settings.linux_options)):
        for word in words:
            if not isinstance(word, str) or not _SAFE_WORD.fullmatch(word):
                errors.append(_wrong(key, word, "plain words of letters, digits and .,:;=+@%/- signs, without spaces, line breaks,"
                                                " quotes, $, ` and backslash"))
            elif key == "xen_options" and word == "--":
                errors.append(_wrong(key, word, "words for Xen; it gives those after '--' to the dom0 kernel, whose words are in"
                                                " linux_options"))
            elif key == "xen_options" and word.split("=")[0] in OWN_KEYS:
                errors.append(_wrong(key, word, "words that have no option of their own; this is memory_mib, vcpus or vcpus_pin"))
    for name, value in sorted(settings.xl_options.items(), key=lambda item: str(item[0])):
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_.]*", name):
            errors.append(_wrong("xl_options", name, "settings of xl.conf: names of lower-case letters, digits, '_' and '.'"))
        elif not isinstance(value, str | int) or (isinstance(value, str) and not re.fullmatch(r'[^"\\\x00-\x1f\x7f]*', value)):
            errors.append(_wrong(f"xl_options.{name}", value, "a text without quotes, backslashes and line breaks, a whole number,"
                                                              " true or false"))
    errors += [
        _wrong("ntp_servers", server, "names and addresses of letters, digits and .:- signs")
        for server in settings.ntp_servers if not _server_ok(server)
    ]
    if settings.ntp_servers and settings.time != "chrony":
        errors.append(_wrong("ntp_servers", list(settings.ntp_servers), f"[] while time is {settings.time}: only chrony reads them. Set"
                                                                        " time to chrony, or leave ntp_servers out"))
    errors += [
        _wrong(f"pool_xen_versions.{host}", version, "a version of Xen such as 4.17.7")
        for host, version in sorted(settings.pool_xen_versions.items()) if not isinstance(version, str) or not minor_of(version)
    ]
    return errors + packet_filter.check(settings.firewall)


def xen_words(settings: Settings) -> list[str]:
    """The words of Xen's command line that the settings ask for.

    `max:` is given as well: without it Xen leaves dom0's upper limit open (docs/misc/xen-command-line.pandoc).
    """
    words = [
        f"dom0_mem={settings.memory_mib}M,max:{settings.memory_mib}M",
        f"dom0_max_vcpus={settings.vcpus}",
    ]
    if settings.vcpus_pin:
        words.append("dom0_vcpus_pin")
    return words + list(settings.xen_options)


@dataclass(frozen=True)
class Words:
    """Words of a drop-in. xen, linux: those that it gives to Xen and to the dom0 kernel; earlier_xen, earlier_linux: those that
    drop-ins before it gave and it does not, by which a running system is recognised that still has them."""

    xen: tuple[str, ...] = ()
    linux: tuple[str, ...] = ()
    earlier_xen: tuple[str, ...] = ()
    earlier_linux: tuple[str, ...] = ()


_ASSIGNED = {"xen": 'GRUB_CMDLINE_XEN="', "linux": 'GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="',
             "earlier_xen": "# Words that Xen was given earlier: ", "earlier_linux": "# Words that the dom0 kernel was given earlier: "}


def words_in(drop_in: str | None) -> Words:
    """The words of a drop-in that `grub_drop_in` made; none without it."""
    found = {
        key: tuple(line.removeprefix(start).rstrip('"').split())
        for line in (drop_in or "").splitlines() for key, start in _ASSIGNED.items() if line.startswith(start)
    }
    return Words(**found)


def _earlier(wanted: Iterable[str], *given: Iterable[str]) -> tuple[str, ...]:
    words = {word for part in given for word in part if _SAFE_WORD.fullmatch(word) and word.split("=")[0] not in OWN_KEYS}
    return tuple(sorted(words - set(wanted)))


def words_of(settings: Settings, before: Words) -> Words:
    """The words of the drop-in for these settings on a host whose drop-in has the words `before`.

    What was given once stays among the earlier words, so that the file is the same on every run. Own keys are not kept: they
    are recognised by their names.
    """
    xen, linux = xen_words(settings), settings.linux_options
    return Words(tuple(xen), tuple(linux), _earlier(xen, before.xen, before.earlier_xen),
                 _earlier(linux, before.linux, before.earlier_linux))


def grub_drop_in(settings: Settings, before: str | None = None) -> WantedFile:
    """The GRUB drop-in. Its name sorts before Debian's xen.cfg, which reads XEN_OVERRIDE_GRUB_DEFAULT itself.

    before: the drop-in that is there.
    """
    words = words_of(settings, words_in(before))
    return WantedFile(GRUB_DROP_IN, (
        _HEADER
        + "# To go back to Debian without Xen: leave XEN_OVERRIDE_GRUB_DEFAULT=0 as the only line here, run update-grub, reboot.\n"
        + "# Without this file Debian's xen.cfg makes Xen the default all the same.\n"
        + "".join(f"{_ASSIGNED[key]}{' '.join(earlier)}\n" for key, earlier in (
            ("earlier_xen", words.earlier_xen), ("earlier_linux", words.earlier_linux)) if earlier)
        + "XEN_OVERRIDE_GRUB_DEFAULT=1\n"
        # Debian's entries for Xen name a compressed file, but do not load what reads it. Its signed image has that built in, one made by
        # grub-install does not.
        + 'GRUB_PRELOAD_MODULES="${GRUB_PRELOAD_MODULES:+$GRUB_PRELOAD_MODULES }gzio"\n'
        + f'{_ASSIGNED["xen"]}{" ".join(words.xen)}"\n'
        + f'{_ASSIGNED["linux"]}{" ".join(words.linux)}"\n'
    ))


def _xl_value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else f'"{value}"'


def configuration(settings: Settings) -> list[WantedFile]:
    """The files that Xen's tools read; written after the packages, whose own versions they replace."""
    xl_lines = [f"{key}={_xl_value(value)}\n" for key, value in sorted(settings.xl_options.items())]
    return [
        WantedFile(XL_CONF, _HEADER + "".join(xl_lines)),
        WantedFile(XENDOMAINS, (
            _HEADER
            + "# Guests are shut down, never saved: an image restored after its guest ran elsewhere destroys the guest's disk.\n"
            + 'XENDOMAINS_MIGRATE=""\nXENDOMAINS_SAVE=""\nXENDOMAINS_RESTORE=false\nXENDOMAINS_AUTO=/etc/xen/auto\n'
            + f"XENDOMAINS_STOP_MAXWAIT={settings.shutdown_wait_seconds}\n"
        )),
        # Guests are shut down all at once, then waited for one after the other: with the unit's own 5 minutes two that hang get less
        # than they are given.
        WantedFile(XENDOMAINS_UNIT, (
            _HEADER
            + f"# xendomains ends by itself: it waits for each guest {settings.shutdown_wait_seconds} seconds at most.\n"
            + "[Service]\nTimeoutStopSec=infinity\n"
        )),
        WantedFile(XEN_DEFAULTS, (
            _HEADER
            + (f"# The consoles of guests are logged to {CONSOLE_LOGS}.\n" if settings.guest_logs else "")
            + f'XENCONSOLED_ARGS="{" ".join(XENCONSOLED_WORDS) if settings.guest_logs else ""}"\n'
        )),
        WantedFile(LOGROTATE, (
            _HEADER
            + f"{CONSOLE_LOGS}/*.log /var/log/xen/xl-*.log {{\n"
            + "    weekly\n    rotate 8\n    maxsize 16M\n    compress\n    missingok\n    notifempty\n    copytruncate\n}\n"
        )),
    ]


def chrony_sources(settings: Settings, there: bool) -> list[WantedFile]:
    """The sources for chrony, and the copy that is kept once it has read them. there: whether such a file is there already.

    They stand beside those of chrony.conf, which is not ours: preferred, so that they win while they answer (chrony.conf(5)).
    """
    if settings.time != "chrony" or not (settings.ntp_servers or there):
        return []
    content = _HEADER + "".join(f"server {server} iburst prefer\n" for server in dict.fromkeys(settings.ntp_servers))
    return [WantedFile(CHRONY_SOURCES, content), WantedFile(CHRONY_LOADED, content)]


def weight_unit(settings: Settings) -> list[WantedFile]:
    """The unit that gives dom0 its weight when the host starts, before the guests; Xen forgets it. None without a weight."""
    if settings.weight is None:
        return []
    return [WantedFile(WEIGHT_FILE, (
        _HEADER
        + "[Unit]\nDescription=Weight of dom0 in Xen's scheduler\nAfter=xen.service\nBefore=xendomains.service\n"
        + "ConditionPathExists=/proc/xen/capabilities\n\n"
        + f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/xl sched-credit2 -d Domain-0 -w {settings.weight}\n\n"
        + "[Install]\nWantedBy=multi-user.target\n"
    ))]


def owned_paths(settings: Settings) -> list[str]:
    """All files whose present content the steps are judged by."""
    return [GRUB_DROP_IN, *(file.path for file in configuration(settings)), CHRONY_SOURCES, CHRONY_LOADED,
            packet_filter.RULES, packet_filter.UNIT_FILE, WEIGHT_FILE]
