# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from lab import image, sources
from lab.errors import LabError
from lab.paths import RECIPE
from lab.releases import RELEASES

BOOKWORM = RELEASES["bookworm"]
TARGETS = """\
http://a.example/debian/|bookworm|main|Debian
http://a.example/debian/|bookworm|contrib|Debian
http://a.example/debian/|bookworm-updates|main|Debian
http://a.example/debian/|bookworm-backports|main|Debian
http://a.example/security/|bookworm-security|main|Debian
http://b.example/|bookworm|stable|Somebody
http://c.example/|nodistro|main|
"""


def recipe_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "recipe"
    shutil.copytree(RECIPE, folder)
    for name in ("image.py", "initramfs.py"):
        shutil.copy(RECIPE.parent / name, folder.parent / name)
    return folder


def test_the_digest_is_that_of_the_recipe_wherever_it_lies(tmp_path: Path) -> None:
    assert image.recipe_digest(BOOKWORM, recipe_copy(tmp_path)) == image.recipe_digest(BOOKWORM)


@pytest.mark.parametrize("name", ["recipe/guest-init", "recipe/common/etc/hosts", "image.py"])
def test_the_digest_changes_with_any_file(tmp_path: Path, name: str) -> None:
    folder = recipe_copy(tmp_path)
    before = image.recipe_digest(BOOKWORM, folder)
    with (folder.parent / name).open("a") as stream:
        stream.write("#")
    assert image.recipe_digest(BOOKWORM, folder) != before


def test_the_digest_changes_with_mode_and_release_data(tmp_path: Path) -> None:
    folder = recipe_copy(tmp_path)
    before = image.recipe_digest(BOOKWORM, folder)
    more = dataclasses.replace(BOOKWORM, packages=(*BOOKWORM.packages, "less"))
    assert image.recipe_digest(more, folder) != before
    (folder / "plain/usr/local/sbin/lab-hostname").chmod(0o644)
    assert image.recipe_digest(BOOKWORM, folder) != before


def test_the_root_disk_is_found_by_one_uuid() -> None:
    assert image.ROOT_UUID in (RECIPE / "plain/etc/fstab").read_text()
    assert image.ROOT_UUID in (RECIPE / "plain/boot/grub/grub.cfg").read_text()


def test_xendomains_stays_as_debian_has_it() -> None:
    assert not any("xen" in unit for unit in (RECIPE / "masked-units").read_text().split())


def test_the_boot_sector_has_one_bootable_linux_partition() -> None:
    sector = image.boot_sector(b"\xeb" * 512, 8386560)
    assert len(sector) == 512 and sector.endswith(b"\x55\xaa") and sector[:440] == b"\xeb" * 440
    entry = sector[446:462]
    assert (entry[0], entry[4]) == (0x80, 0x83)
    assert int.from_bytes(entry[8:12], "little") == 2048
    assert int.from_bytes(entry[12:16], "little") == 8386560
    assert sector[462:510] == b"\0" * 48


def test_an_unknown_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XENFOLD_LAB_CACHE", str(tmp_path))
    with pytest.raises(LabError, match="image fancy: allowed: xen, plain"):
        image.ensure_image("bookworm", "fancy")


def test_sources_are_the_machines_own_without_others_and_backports() -> None:
    assert sources.debian_lines(TARGETS, BOOKWORM, "bookworm") == [
        "deb http://a.example/debian/ bookworm contrib main",
        "deb http://a.example/debian/ bookworm-updates main",
        "deb http://a.example/security/ bookworm-security main",
    ]


def test_sources_of_another_release_exchange_the_codename() -> None:
    lines = sources.debian_lines(TARGETS, RELEASES["trixie"], "bookworm")
    assert [line.split()[2] for line in lines] == ["trixie", "trixie-updates", "trixie-security"]


def test_sources_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sources.list"
    file.write_text("# mine\ndeb http://d.example/ bookworm main\n")
    monkeypatch.setenv("XENFOLD_LAB_SOURCES", str(file))
    assert sources.machine_sources(BOOKWORM) == ["deb http://d.example/ bookworm main"]
    monkeypatch.setenv("XENFOLD_LAB_SOURCES", str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"XENFOLD_LAB_SOURCES=.*No such file"):
        sources.machine_sources(BOOKWORM)


def test_settings_that_reach_the_archive_go_into_the_guest_with_its_view_of_the_machine() -> None:
    dump = 'APT "";\nAcquire::http::Proxy "http://127.0.0.1:3142/";\nAcquire::Check-Valid-Until "false";\nDir "/";\n'
    settings = sources.apt_settings(dump)
    assert settings == ['Acquire::http::Proxy "http://127.0.0.1:3142/";', 'Acquire::Check-Valid-Until "false";']
    assert sources.settings_for_guest(settings)[0] == 'Acquire::http::Proxy "http://10.0.2.2:3142/";'


def test_dpkg_on_a_host_makes_durable_what_it_unpacks(tmp_path: Path) -> None:
    options = tmp_path / "etc" / "dpkg" / "dpkg.cfg.d" / "99mmdebstrap"
    options.parent.mkdir(parents=True)
    options.write_text("force-unsafe-io\npath-exclude=/usr/share/man/*\n")
    image.forget_unsafe_io(tmp_path)
    assert options.read_text() == "path-exclude=/usr/share/man/*\n"


def test_the_codename_of_the_machine() -> None:
    assert sources.os_codename('NAME="Debian"\nVERSION_CODENAME=bookworm\n') == "bookworm"
