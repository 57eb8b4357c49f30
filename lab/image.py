# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk images of the hosts, built once from Debian's packages and kept in the cache under a digest of the recipe."""

from __future__ import annotations

import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import initramfs, sources
from lab.console import run, say
from lab.errors import LabError
from lab.paths import RECIPE, cache_root
from lab.releases import Release, release_of
from lab.requirements import BUILD_DISK_MIB, BUILD_PROGRAMS, UEFI_BUILD_PROGRAMS, need_disk, need_programs, need_root
from lab.spec import KINDS

ROOT_DISK_MIB = 4096
_FIRST_SECTOR = 2048
_SECTOR = 512
# UEFI's own partition, and the end of the disk, where a GPT has its copy.
_ESP_MIB = 64
_TAIL_MIB = 1
# The root file system of `plain` and `uefi` is found by this; it stands in the recipe's fstab and grub.cfg too.
ROOT_UUID = "5f0b6a52-4c0e-4d3b-9c1e-7a4b1c9d2e30"
_BUILD_SECONDS = 1200
_DIGEST_MODULES = ("image.py", "initramfs.py")
# A xen host never boots the initial file system that it makes: QEMU gives it another. So it holds little more than what mdadm puts there,
# and an emulated host makes it in half the time. Those of plain hosts are as Debian makes them.
_UNUSED_HOOKS = ("dmsetup", "fsck", "keymap", "klibc-utils", "lvm2", "resume", "thermal", "udev")


@dataclasses.dataclass(frozen=True)
class Store:
    """The cache of one recipe: keys, images, test guest, booted hosts."""

    folder: Path
    release: Release

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def guest(self) -> Path:
        return self.folder / "guest"

    @property
    def booted(self) -> Path:
        return self.folder / "booted"

    def image(self, kind: str) -> Path:
        return self.folder / kind

    def has(self, kind: str) -> bool:
        return (self.image(kind) / "complete").exists() and (self.guest / "initrd").exists()


def recipe_digest(release: Release, folder: Path = RECIPE) -> str:
    """Digest of all that decides an image but the archive's contents: release data, recipe files, builder."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(release), sort_keys=True).encode())
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files += [folder.parent / name for name in _DIGEST_MODULES]
    for path in files:
        mode = "x" if os.access(path, os.X_OK) else "-"
        digest.update(f"{path.relative_to(folder.parent)} {mode} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def store_of(release_name: str) -> Store:
    release = release_of(release_name)
    return Store(cache_root() / f"{release.name}-{recipe_digest(release)}", release)


def ensure_image(release_name: str, kind: str) -> Store:
    """The store with the image of that kind in it, building it when it is not there. Only a build needs root."""
    if kind not in KINDS:
        raise LabError(f"image {kind}: allowed: {', '.join(KINDS)}")
    store = store_of(release_name)
    if store.has(kind):
        return store
    need_root(f"building the {kind} image ({store.folder / kind} is not in the cache)")
    need_programs(BUILD_PROGRAMS | (UEFI_BUILD_PROGRAMS if kind == "uefi" else {}))
    need_disk(BUILD_DISK_MIB, store.folder, f"building the {kind} image")
    store.folder.mkdir(parents=True, exist_ok=True)
    # Of two kinds two may be built at once.
    with _alone(store.folder / f"{kind}.lock"):
        if not store.has(kind):
            _build(store, kind)
    return store


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build(store: Store, kind: str) -> None:
    begun = time.monotonic()
    if not store.release.proven:
        say(f"release {store.release.name} is prepared for but not proven: Debian 12 is what the tests run on")
    shared = store.folder / "shared.lock"
    with _alone(shared):
        _make_keys(store.keys)
    work = store.folder / f"{kind}.work"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(mode=0o700)
    root = work / "root"
    say(f"building the {kind} image of {store.release.name}: unpacking Debian's packages (about a minute)")
    _unpack(store.release, kind, root, work / "build.log")
    say("settings, keys, boot files")
    _furnish(store, kind, root)
    target = work / "image"
    target.mkdir()
    if kind == "xen":
        _write_boot_files(store.release, root, target)
    with _alone(shared):
        if not (store.guest / "initrd").exists():
            _write_guest(store, root, work)
    say("writing the disk")
    raw = work / "root.img"
    if kind == "xen":
        _write_file_system(root, raw, offset=0)
    elif kind == "uefi":
        _write_uefi_disk(root, raw, work)
    else:
        _write_bootable_disk(root, raw, work)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target / "root.qcow2"], timeout=300)
    shutil.copy(work / "build.log", target / "build.log")
    (target / "complete").write_text(f"{kind}\n", encoding="ascii")
    final = store.image(kind)
    if final.exists():
        shutil.rmtree(final)
    target.rename(final)
    shutil.rmtree(work)
    say(f"{kind} image built in {time.monotonic() - begun:.0f} s: {final}")


def _make_keys(folder: Path) -> None:
    """The user's key and the hosts' key, made with the first image: known_hosts is right from the start."""
    if (folder / "host_ed25519").exists():
        return
    fresh = folder.with_name("keys.work")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    for name in ("id_ed25519", "host_ed25519"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenfold-lab", "-f", fresh / name], timeout=60)
    fresh.rename(folder)


def _unpack(release: Release, kind: str, root: Path, log: Path) -> None:
    """mmdebstrap into a folder. The initial file system's short module list must be there before the kernel is."""
    modules = " ".join(() if kind == "xen" else release.boot_modules)
    early = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d" && '
        'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/lab" && '
        f'printf "%s\\n" {modules} > "$1/usr/share/initramfs-tools/modules.d/lab"'
    )
    packages = release.packages_of(kind)
    words: list[str | Path] = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"]
    options = ['Apt::Install-Recommends "false"', 'Acquire::Languages "none"', 'Acquire::Retries "3"']
    words += [f"--aptopt={option}" for option in options]
    words += [f"--aptopt={line.rstrip(';')}" for line in sources.machine_settings()]
    words += ["--dpkgopt=force-unsafe-io"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")]
    words += [f"--essential-hook={early}"]
    if kind != "xen":
        # The lists and the packages of Xen wait in the image: installing them there is real, fetching them takes no time.
        words += ["--skip=cleanup/apt/lists,cleanup/apt/cache"]
        fetch = "apt-get install --yes --download-only " + " ".join(release.xen_packages)
        words += [f'--customize-hook=rm -f "$1"/var/cache/apt/archives/*.deb && chroot "$1" {fetch}']
    words += [f"--include={','.join(packages)}", release.name, root, *sources.machine_sources(release)]
    run(words, timeout=_BUILD_SECONDS, log=log)


def _furnish(store: Store, kind: str, root: Path) -> None:
    """All that is the lab's own in the system: network, keys, what is left out of the boot."""
    for tree in ("common", "xen" if kind == "xen" else "plain"):
        folder = RECIPE / tree
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target = root / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copyfile(path, target)
                target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    ssh = root / "etc" / "ssh"
    for old in ssh.glob("ssh_host_*"):
        old.unlink()
    _place(store.keys / "host_ed25519", ssh / "ssh_host_ed25519_key", 0o600)
    _place(store.keys / "host_ed25519.pub", ssh / "ssh_host_ed25519_key.pub", 0o644)
    (root / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
    _place(store.keys / "id_ed25519.pub", root / "root" / ".ssh" / "authorized_keys", 0o600)
    (root / "etc" / "hostname").unlink(missing_ok=True)
    forget_unsafe_io(root)
    settings = sources.settings_for_guest(sources.machine_settings())
    if settings:
        (root / "etc" / "apt" / "apt.conf.d" / "90lab").write_text("\n".join(settings) + "\n", encoding="utf-8")
    units = root / "etc" / "systemd" / "system"
    for unit in (RECIPE / "masked-units").read_text(encoding="ascii").split():
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    enabled = ["systemd-networkd.service"] + ([] if kind == "xen" else ["lab-hostname.service"])
    run(["chroot", root, "systemctl", "enable", *enabled], timeout=60)
    if kind != "xen":
        _furnish_grub(root, "x86_64-efi" if kind == "uefi" else "i386-pc")
    else:
        for hook in _UNUSED_HOOKS:
            (root / "usr" / "share" / "initramfs-tools" / "hooks" / hook).unlink(missing_ok=True)


def forget_unsafe_io(root: Path) -> None:
    """mmdebstrap leaves dpkg's options in the system; a host's dpkg makes durable what it unpacks."""
    options = root / "etc" / "dpkg" / "dpkg.cfg.d" / "99mmdebstrap"
    lines = options.read_text(encoding="utf-8").splitlines(keepends=True)
    options.write_text("".join(line for line in lines if line != "force-unsafe-io\n"), encoding="utf-8")


def _place(source: Path, target: Path, mode: int) -> None:
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _furnish_grub(root: Path, platform: str) -> None:
    menu = root / "boot" / "grub" / "grub.cfg"
    kernel = initramfs.kernel_version(root)
    text = menu.read_text(encoding="utf-8")
    text = text.replace("@VMLINUZ@", f"/boot/vmlinuz-{kernel}").replace("@INITRD@", f"/boot/initrd.img-{kernel}")
    menu.write_text(text, encoding="utf-8")
    shutil.copytree(root / "usr" / "lib" / "grub" / platform, root / "boot" / "grub" / platform, dirs_exist_ok=True)


def _write_boot_files(release: Release, root: Path, target: Path) -> None:
    """Xen, dom0's kernel and initial file system, for QEMU to load."""
    (target / "xen").write_bytes(gzip.decompress((root / release.xen_binary).read_bytes()))
    (target / "vmlinux").write_bytes(initramfs.vmlinux(root, target))
    init = (RECIPE / "dom0-init").read_bytes()
    (target / "initrd.img").write_bytes(initramfs.build(root, release.boot_modules, init))


def _write_guest(store: Store, root: Path, work: Path) -> None:
    """The guest that tests run: the same kernel, an initial file system that is all of its system."""
    fresh = work / "guest"
    fresh.mkdir()
    (fresh / "vmlinux").write_bytes(initramfs.vmlinux(root, fresh))
    init = (RECIPE / "guest-init").read_bytes()
    files = initramfs.build(root, store.release.guest_modules, init, store.release.guest_pci_modules)
    packed = gzip.compress(files, compresslevel=6, mtime=0)
    (fresh / "initrd").write_bytes(packed)
    if store.guest.exists():
        shutil.rmtree(store.guest)
    fresh.rename(store.guest)


def _write_file_system(root: Path, raw: Path, offset: int, tail_mib: int = 0) -> None:
    """ext4 filled from a folder, without a loop device. GRUB 2.06 cannot read metadata_csum_seed."""
    with raw.open("wb") as stream:
        stream.truncate(ROOT_DISK_MIB * 2**20)
    size_kib = (ROOT_DISK_MIB - tail_mib) * 1024 - offset // 1024
    extended = f"lazy_itable_init=0,nodiscard,offset={offset}"
    words: list[str | Path] = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", ROOT_UUID, "-d", root]
    words += ["-O", "^metadata_csum_seed", "-E", extended, raw, f"{size_kib}k"]
    run(words, timeout=600)


def _write_bootable_disk(root: Path, raw: Path, work: Path) -> None:
    """A disk that a BIOS boots: GRUB's boot sector with one partition, its core in the gap before it, ext4."""
    grub = root / "usr" / "lib" / "grub" / "i386-pc"
    core = root / "boot" / "core.img"
    words: list[str | Path] = ["chroot", root, "grub-mkimage", "-O", "i386-pc", "-o", "/boot/core.img"]
    run([*words, "-p", "(hd0,msdos1)/boot/grub", "biosdisk", "part_msdos", "ext2"], timeout=60)
    core_image = core.read_bytes()
    core.unlink()
    _write_file_system(root, raw, offset=_FIRST_SECTOR * _SECTOR)
    sectors = ROOT_DISK_MIB * 2**20 // _SECTOR - _FIRST_SECTOR
    with raw.open("r+b") as stream:
        stream.write(boot_sector((grub / "boot.img").read_bytes(), sectors))
        if len(core_image) > (_FIRST_SECTOR - 1) * _SECTOR:
            raise LabError("GRUB's core image does not fit before the first partition")
        stream.write(core_image)


def _write_uefi_disk(root: Path, raw: Path, work: Path) -> None:
    """A disk that UEFI boots: a GPT, a FAT partition with GRUB under the name that firmware looks for, ext4."""
    early = root / "boot" / "early.cfg"
    early.write_text(f"search.fs_uuid {ROOT_UUID} root\nset prefix=($root)/boot/grub\n", encoding="ascii")
    words: list[str | Path] = ["chroot", root, "grub-mkimage", "-O", "x86_64-efi", "-o", "/boot/grub.efi", "-c", "/boot/early.cfg"]
    run([*words, "-p", "/boot/grub", "part_gpt", "ext2", "search_fs_uuid", "normal"], timeout=60)
    grub, esp = work / "grub.efi", work / "esp.img"
    shutil.move(root / "boot" / "grub.efi", grub)
    early.unlink()
    with esp.open("wb") as stream:
        stream.truncate(_ESP_MIB * 2**20)
    run(["mformat", "-i", esp, "-F", "::"], timeout=60)
    run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], timeout=60)
    run(["mcopy", "-i", esp, grub, "::/EFI/BOOT/BOOTX64.EFI"], timeout=60)
    start_mib = _FIRST_SECTOR * _SECTOR // 2**20 + _ESP_MIB
    _write_file_system(root, raw, offset=start_mib * 2**20, tail_mib=_TAIL_MIB)
    table = work / "table"
    table.write_text(
        f"label: gpt\nstart={_FIRST_SECTOR}, size={_ESP_MIB}MiB, type=U\nstart={start_mib}MiB,"
        f" size={ROOT_DISK_MIB - start_mib - _TAIL_MIB}MiB, type=L\n", encoding="ascii")
    run(["sh", "-c", f"sfdisk -q {raw} < {table}"], timeout=60)
    with raw.open("r+b") as stream:
        stream.seek(_FIRST_SECTOR * _SECTOR)
        stream.write(esp.read_bytes())


def boot_sector(boot_image: bytes, sectors: int) -> bytes:
    """GRUB's boot code with a table of one bootable Linux partition of `sectors` sectors from sector 2048 on."""
    entry = bytes([0x80, 0xFE, 0xFF, 0xFF, 0x83, 0xFE, 0xFF, 0xFF])
    entry += _FIRST_SECTOR.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    return boot_image[:440].ljust(446, b"\0") + entry + b"\0" * 48 + b"\x55\xaa"
