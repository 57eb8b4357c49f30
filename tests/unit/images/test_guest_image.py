# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module guest_image on volumes that are files: what is filled, what is never written, and what a killed run leaves."""
from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic, urls
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import fill, first_boot
from ansible_collections.xenfold.consolidation.plugins.modules import guest_image

from tests.unit import command_cases
from tests.unit.images.fake_lvm import EXTENT, Cut, Lvm

FILLING = "xenfold.filling"
DISK = b"boot" + bytes(2 * EXTENT - 8) + b"last"
OLD = b"\xa5"
VOLUME = {"name": "web01-root", "volume_group": "vg", "size_gib": 3 * EXTENT / 2**30}
FILL = {"name": "web01-root", "volume_group": "vg", "image": "debian"}
SEED = {"name": "web01-seed-0", "volume_group": "vg", "files": {"meta-data": "a", "user-data": "password: s3cret"}}
SEED_VOLUME = {"name": "web01-seed-0", "volume_group": "vg", "size_gib": EXTENT / 2**30}


@pytest.fixture(name="lvm")
def _lvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lvm:
    monkeypatch.setattr(guest_image, "image_path", lambda name: str(tmp_path / "images" / name))
    (tmp_path / "images").mkdir()
    return Lvm(tmp_path, monkeypatch)


def raw(lvm: Lvm, content: bytes = DISK, **more: Any) -> dict[str, Any]:
    """An image on the host, as the module is told of it."""
    (lvm.root / "images" / "debian").write_bytes(content)
    return {"name": "debian", "path": "/srv/debian", "format": "raw", "sha256": hashlib.sha256(content).hexdigest()} | more


def run(images: list[dict[str, Any]], check: bool = False, volumes: Any = None, filled: Any = None, **output: Any) -> dict[str, Any]:
    return command_cases.run("guest_image", {
        "input": {"volumes": volumes or [VOLUME], "fill": [FILL] if filled is None else filled, "images": images},
        "flags": {"check": check}, "output": output})


@pytest.fixture(autouse=True)
def _own_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands go to the fake LVM, not to a recording."""
    monkeypatch.setattr(command_cases.mock.patch, "object", _without_run_command(command_cases.mock.patch.object))


def _without_run_command(patch: Any) -> Any:
    def choose(target: Any, name: str, *rest: Any) -> Any:
        return patch(target, name, getattr(target, name)) if name == "run_command" else patch(target, name, *rest)
    return choose


def lines(result: dict[str, Any]) -> list[str]:
    return [f"{action['verb']} {action['target']}" for action in result["actions"]]


def test_a_new_volume_is_filled_and_a_second_run_changes_nothing(lvm):
    image = raw(lvm)
    told = ["create volume vg/web01-root", "fill volume vg/web01-root"]
    assert lines(run([image], check=True, changed=True)) == told
    assert lvm.changes == [] and lvm.volumes() == []
    result = run([image], changed=True)
    assert lines(result) == told
    assert result["volumes"] == [{"name": "web01-root", "volume_group": "vg", "device": "/dev/vg/web01-root", "size_mib": 12}]
    assert lvm.tags == {"vg/web01-root": set()}
    assert lvm.content("vg/web01-root") == DISK + OLD * EXTENT
    before = list(lvm.changes)
    run([image], changed=False, actions=[])
    assert lvm.changes == before
    assert lvm.changes[0] == ["lvcreate", "--yes", "-W", "y", "--addtag", FILLING, "-l", "3", "-n", "web01-root.filling", "vg"]


def test_an_existing_volume_is_never_written_and_needs_no_image(lvm):
    lvm.make("vg/web01-root", 2)
    absent = {"name": "debian", "path": "/srv/debian", "format": "raw", "sha256": "0" * 64}
    assert lines(run([absent], changed=True)) == ["grow volume vg/web01-root"]
    assert lvm.content("vg/web01-root").strip(b"\0") == OLD * 2 * EXTENT


def test_volumes_without_an_image_stay_as_they_come(lvm):
    other = {"name": "web01-data", "volume_group": "vg", "size_gib": EXTENT / 2**30}
    assert lines(run([raw(lvm)], volumes=[VOLUME, other])) == [
        "create volume vg/web01-root", "create volume vg/web01-data", "fill volume vg/web01-root"]
    assert lvm.tags == {"vg/web01-root": set(), "vg/web01-data": set()}
    assert lvm.content("vg/web01-data") == OLD * EXTENT


def qcow2(lvm: Lvm, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An image of the disk by qemu-img. Where that is not installed, a header with the disk behind it, and a program for that form."""
    source, image = lvm.root / "disk.raw", lvm.root / "images" / "debian"
    source.write_bytes(DISK)
    if shutil.which("qemu-img"):
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, image], check=True)
        assert image.stat().st_size < len(DISK)
    else:
        head, program = qcow2_head(size=len(DISK)), lvm.root / "bin" / "qemu-img"
        image.write_bytes(head + DISK)
        program.parent.mkdir()
        program.write_text('#!/bin/sh\ntest "$1 $2 $3 $4 $5 $6" = "convert -n -f qcow2 -O raw" || exit 1\n'
                           f'dd if="$9" bs={len(head)} skip=1 status=none | dd of="${{10}}" conv=notrunc status=none\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return {"name": "debian", "path": "/x", "format": "qcow2", "sha256": hashlib.sha256(image.read_bytes()).hexdigest()}


def test_qcow2_comes_by_qemu_img_with_zeros_where_it_has_none(lvm, monkeypatch):
    run([qcow2(lvm, monkeypatch)], changed=True)
    assert lvm.content("vg/web01-root") == DISK + OLD * EXTENT
    assert lvm.tags == {"vg/web01-root": set()}


def archive(pack: str = "w:gz", size: int = 5) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=pack) as tar:
        entry = tarfile.TarInfo("etc/hostname")
        entry.size = size
        tar.addfile(entry, io.BytesIO(b"x" * size))
    return stream.getvalue()


def stand_ins(lvm: Lvm, monkeypatch: pytest.MonkeyPatch, tar: str = "") -> Path:
    """Programs that mount nothing, so that the archive is unpacked into the folder itself; they write down what they were told."""
    folder, log = lvm.root / "bin", lvm.root / "log"
    folder.mkdir()
    for name, body in {"unshare": 'shift 3; exec "$@"', "mkfs.ext4": "", "mkfs.xfs": "", "mount": "", "umount": "", "tar": tar}.items():
        if name == "tar" and not tar:
            continue
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" | head -n 1 >> {log}\n{body}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(fill, "MOUNT_POINT", str(lvm.root / "mounted"))
    (lvm.root / "mounted").mkdir()
    return log


@pytest.mark.parametrize(("kind", "made"), [(None, "mkfs.ext4 -q -F"), ("ext4", "mkfs.ext4 -q -F"), ("xfs", "mkfs.xfs -q -f")])
def test_a_tar_is_unpacked_into_a_new_file_system(lvm, monkeypatch, kind, made):
    log = stand_ins(lvm, monkeypatch)
    run([raw(lvm, archive(), format="tar", **({"filesystem": kind} if kind else {}))], changed=True)
    device, point = lvm.root / "vg/web01-root.filling", lvm.root / "mounted"
    assert log.read_text().splitlines()[1:] == [f"{made} {device}", f"mount -t {kind or 'ext4'} {device} {point}", f"umount {point}"]
    assert log.read_text().startswith("unshare --mount --propagation private sh -ec")
    assert (point / "etc/hostname").read_text() == "xxxxx"
    assert lvm.tags == {"vg/web01-root": set()}


def test_a_tar_that_cannot_be_unpacked_leaves_a_volume_that_no_guest_has(lvm, monkeypatch):
    log = stand_ins(lvm, monkeypatch, tar="echo no room >&2; exit 2")
    image = raw(lvm, archive(), format="tar")
    assert "no room" in run([image], failed=True)["msg"]
    assert "umount" not in log.read_text(), "the mount ends with the processes that see it"
    assert lvm.tags == {"vg/web01-root.filling": {FILLING}}
    (lvm.root / "bin/tar").unlink()
    assert lines(run([image], changed=True)) == ["fill volume vg/web01-root"]
    assert lvm.tags == {"vg/web01-root": set()}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 8))
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(lvm, number, after):
    image, both = raw(lvm), {"volumes": [VOLUME, SEED_VOLUME], "filled": [FILL, SEED]}
    lvm.cut, lvm.after = number, after
    with pytest.raises(Cut):
        run([image], **both)
    if "vg/web01-root" in lvm.tags:
        assert lvm.content("vg/web01-root").startswith(DISK), "no volume has its name before it is whole"
    assert len(lvm.changes) == number
    lvm.cut = 0
    run([image], changed=not (after and number == 7), **both)
    assert lvm.tags == {"vg/web01-root": set(), "vg/web01-seed-0": set()}
    assert lvm.content("vg/web01-root") == DISK + OLD * EXTENT
    assert lvm.content("vg/web01-seed-0").startswith(first_boot.seed(SEED["files"]))
    run([image], changed=False, **both)


def test_half_an_image_is_written_anew(lvm):
    image = raw(lvm)
    lvm.make("vg/web01-root.filling", 3, FILLING)
    result = run([image], changed=True)
    assert lines(result) == ["fill volume vg/web01-root"]
    assert [volume["name"] for volume in result["volumes"]] == ["web01-root"]
    assert lvm.content("vg/web01-root") == DISK + OLD * EXTENT


def test_half_an_image_in_a_volume_of_another_size_is_made_anew(lvm):
    lvm.make("vg/web01-root.filling", 63, FILLING)
    assert lines(run([raw(lvm)], changed=True)) == [
        "remove volume vg/web01-root.filling", "create volume vg/web01-root", "fill volume vg/web01-root"]
    assert lvm.content("vg/web01-root") == DISK + OLD * EXTENT


def test_a_volume_of_somebody_else_with_that_name_is_left_alone(lvm):
    lvm.make("vg/web01-root.filling", 3)
    result = run([raw(lvm)], failed=True)
    assert "volume 'vg/web01-root.filling': has that name and not the tag xenfold.filling" in result["msg"]
    assert lvm.changes == []


def test_a_volume_beside_the_whole_one_is_told(lvm, monkeypatch):
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, line: warned.append(line))
    lvm.make("vg/web01-root", 3)
    lvm.make("vg/web01-root.filling", 3, FILLING)
    run([raw(lvm)], changed=False)
    assert len(warned) == 1 and "vg/web01-root.filling" in warned[0]
    assert lvm.content("vg/web01-root.filling") == OLD * 3 * EXTENT


def test_half_an_image_of_a_guest_that_comes_by_a_move_is_left(lvm):
    """Else the volume that was filled would take the place of the guest's own."""
    lvm.make("vg/web01-root.filling", 3, FILLING)
    lvm.make("vg/web01-root.coming", 3)
    assert "has web01-root.coming of a guest that has moved" in run([raw(lvm)], failed=True)["msg"]
    assert lvm.changes == []


def test_what_another_run_is_filling_is_left_to_it(lvm):
    image = raw(lvm)
    (lvm.root / "locks").mkdir()
    with subprocess.Popen(["flock", str(lvm.root / "locks/vg-web01-root"), "sh", "-c", "echo locked; read x"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        assert "another run is just filling it" in run([image], failed=True)["msg"]
        other.communicate(b"\n")
    assert lvm.tags == {"vg/web01-root.filling": {FILLING}}
    run([image], changed=True)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_device_that_is_not_there_is_not_made_as_a_file(lvm, monkeypatch, kind):
    """As with a volume that is not active: the image would come to the host's memory, and the volume get its name without a content."""
    image = raw(lvm) if kind == "raw" else qcow2(lvm, monkeypatch)
    device = lvm.root / "vg/web01-root.filling"
    done = subprocess.run(fill.command(image, str(lvm.root / "images/debian"), str(device)), capture_output=True, check=False)
    assert done.returncode != 0 and not device.exists()


def test_two_volumes_of_one_image(lvm):
    other = {**VOLUME, "name": "web02-root"}
    run([raw(lvm)], volumes=[VOLUME, other], filled=[FILL, {**FILL, "name": "web02-root"}], changed=True)
    assert lvm.content("vg/web01-root") == lvm.content("vg/web02-root") == DISK + OLD * EXTENT


def qcow2_head(backing: int = 0, encrypted: int = 0, features: int = 0, version: int = 3, size: int = 2**20) -> bytes:
    return struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 0, 16, size, encrypted).ljust(72, b"\0") + struct.pack(">Q", features)


@pytest.mark.parametrize(("content", "more", "text"), [
    (DISK * 2, {}, "volume 'vg/web01-root': disk image 'debian' takes 0.016 GiB and the volume has 0.012 GiB; give the disk more size_gib"),
    (DISK, {"sha256": "0" * 64}, "disk image 'debian': sha256: the file has "),
    (DISK, {"format": "qcow2"}, "format: is qcow2, and the file is none of version 2 or 3"),
    (qcow2_head(version=4), {"format": "qcow2"}, "none of version 2 or 3"),
    (qcow2_head(backing=80), {"format": "qcow2"}, "lies on another image; allowed is one that stands alone"),
    (qcow2_head(encrypted=1), {"format": "qcow2"}, "is encrypted; allowed"),
    (qcow2_head(features=4), {"format": "qcow2"}, "has its data in another file; allowed"),
    (qcow2_head(size=2**30), {"format": "qcow2"}, "takes 1.000 GiB"),
    (b"no archive", {"format": "tar"}, "is no archive of tar that can be read"),
    (archive()[:-20], {"format": "tar"}, "is no archive of tar that can be read"),
    (archive("w:bz2", 4 * EXTENT), {"format": "tar"}, "takes 0.016 GiB"),
    (b"", {"format": "tar"}, "is no archive of tar that can be read"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_image_is_told_before_anything_is_made(lvm, content, more, text):
    result = run([raw(lvm, content, **more)], failed=True)
    assert result["msg"].startswith("No volume was changed. ") and text in result["msg"]
    assert lvm.changes == [] and lvm.volumes() == []


def test_an_image_that_is_not_there(lvm):
    image = raw(lvm)
    (lvm.root / "images/debian").unlink()
    assert "there is no" in run([image], failed=True)["msg"]
    assert lines(run([image], check=True, changed=True)) == ["create volume vg/web01-root", "fill volume vg/web01-root"]
    assert lvm.changes == []


def test_room_that_is_missing(lvm):
    lvm.extents = 2
    assert "the volumes need 0.00 GiB more than is free" in run([raw(lvm)], failed=True)["msg"]
    assert lvm.changes == []


def test_tools_are_installed_before_volumes_are_made(lvm, monkeypatch):
    asked: list[list[str]] = []
    monkeypatch.setattr(packages, "missing", lambda _runner, names: [name for name in names if name == "qemu-utils"])
    monkeypatch.setattr(packages, "install", lambda _runner, names: asked.append(names) if not lvm.changes else pytest.fail("too late"))
    entry = qcow2(lvm, monkeypatch)
    assert lines(run([entry], check=True))[0] == lines(run([entry]))[0] == "install package qemu-utils"
    assert asked == [["qemu-utils"]]


@pytest.fixture(name="served")
def _served(lvm, monkeypatch):
    """What lies under URLs."""
    pages: dict[str, bytes] = {}

    def fetch(url: str) -> io.BytesIO:
        if url not in pages:
            raise OSError("HTTP Error 404: Not Found")
        return io.BytesIO(pages[url])

    monkeypatch.setattr(guest_image, "image_path", lambda name: str(lvm.root / "images" / name / "disk"))
    monkeypatch.setattr(guest_image, "fetch", fetch)
    return pages


URL = "https://example.org/debian.raw"
REAL_FETCH = guest_image.fetch


def by_url(content: bytes = DISK) -> dict[str, Any]:
    return {"name": "debian", "url": URL, "format": "raw", "sha256": hashlib.sha256(content).hexdigest()}


def test_an_image_comes_by_its_url_once(lvm, served):
    served[URL] = DISK
    told = ["fetch disk image debian", "create volume vg/web01-root", "fill volume vg/web01-root"]
    assert lines(run([by_url()], check=True, changed=True)) == told
    assert os.listdir(lvm.root / "images") == []
    assert lines(run([by_url()], changed=True)) == told
    assert os.listdir(lvm.root / "images/debian") == ["disk"]
    served.clear()
    run([by_url()], volumes=[{**VOLUME, "name": "web02-root"}], filled=[{**FILL, "name": "web02-root"}], changed=True)
    assert lvm.content("vg/web02-root") == DISK + OLD * EXTENT


def test_another_image_under_the_same_name_is_fetched(lvm, served):
    (lvm.root / "images/debian").mkdir()
    (lvm.root / "images/debian/disk").write_bytes(b"an older one")
    (lvm.root / "images/debian/.disk.abcd").write_bytes(b"half of it, of a killed run")
    served[URL] = DISK
    run([by_url()], changed=True)
    assert os.listdir(lvm.root / "images/debian") == ["disk"]
    assert (lvm.root / "images/debian/disk").read_bytes() == DISK


@pytest.mark.parametrize(("page", "text"), [
    (None, "disk image 'debian': url: https://example.org/debian.raw could not be fetched: HTTP Error 404"),
    (b"a page that says no", "disk image 'debian': sha256: the file has "),
])
def test_a_url_that_gives_something_else(lvm, served, page, text):
    served |= {URL: page} if page else {}
    assert text in run([by_url()], failed=True)["msg"]
    assert os.listdir(lvm.root / "images/debian") == []
    assert lvm.volumes() == []


@pytest.mark.parametrize("error", [http.client.IncompleteRead(b"", 7), http.client.InvalidURL("nonnumeric port: 'x'"),
                                   urls.ConnectionError("no way"), ValueError("unknown url type")])
def test_a_url_that_breaks_off(lvm, served, monkeypatch, error):
    def fetch(_url: str) -> io.BytesIO:
        raise error

    monkeypatch.setattr(guest_image, "open_url", lambda url, **_options: fetch(url))
    monkeypatch.setattr(guest_image, "fetch", REAL_FETCH)
    assert f"disk image 'debian': url: {URL} could not be fetched: {error}" in run([by_url()], failed=True)["msg"]
    assert os.listdir(lvm.root / "images/debian") == [] and lvm.volumes() == []


def test_a_fetched_image_that_is_too_large(lvm, served):
    served[URL] = DISK * 2
    assert "takes 0.016 GiB" in run([by_url(DISK * 2)], failed=True)["msg"]
    assert lvm.volumes() == []


@pytest.mark.parametrize("user_data", ["password: s3cret", "#cloud-config\npassword: s3cret\n"])
def test_nothing_shows_what_a_seed_says(lvm, monkeypatch, user_data):
    """Nor the host's journal, which gets options as Python writes them: a text of several lines is not found there as a secret."""
    shown: list[Any] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(AnsibleModule, "_log_to_syslog", lambda _module, line: shown.append(line))
    result = command_cases.run("guest_image", {"output": {"changed": True}, "input": {
        # As each task says.
        "_ansible_no_log": False, "volumes": [SEED_VOLUME], "fill": [{**SEED, "files": {"meta-data": "a", "user-data": user_data}}]}})
    assert lines(result) == ["create volume vg/web01-seed-0", "fill volume vg/web01-seed-0"]
    assert "s3cret" not in str(result) + str(shown) + str(lvm.changes)
    assert b"s3cret" in lvm.content("vg/web01-seed-0")


@pytest.mark.parametrize(("entry", "text"), [
    ({**FILL, "image": "other"}, "fill vg/web01-root: image: value 'other', allowed a name of images: debian"),
    ({**FILL, "files": {"a": "b"}}, "fill vg/web01-root: image: is given beside files"),
    ({"name": "web01-root", "volume_group": "vg"}, "fill vg/web01-root: image: is missing; allowed is one of image and files"),
    ({"name": "web01-root", "volume_group": "vg", "files": {"a": 5}}, "files: value of another kind, allowed texts by name"),
    ({**FILL, "name": "web02-root"}, "fill: value 'vg/web02-root', allowed volumes of this call: vg/web01-root"),
])
def test_bad_options(lvm, entry, text):
    assert text in run([raw(lvm)], filled=[entry], failed=True)["msg"]
    assert lvm.changes == []


def test_a_bare_host_shows_the_same_actions(lvm, monkeypatch):
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, line: warned.append(line))
    monkeypatch.setattr(guest_image.Runner, "tool", lambda _runner, _name: False)
    assert lines(run([raw(lvm)], check=True, changed=True)) == ["create volume vg/web01-root", "fill volume vg/web01-root"]
    assert "volume_group: vg is not on this host" in warned[0]
    assert "vg is not on this host" in run([raw(lvm)], failed=True)["msg"]


def test_the_tools_that_a_fill_takes_are_on_this_machine():
    """Else the tests above would prove nothing of them."""
    assert [tool for tool in ("dd", "flock", "tar", "sh") if not shutil.which(tool)] == []
