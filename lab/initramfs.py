# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small initial file systems: a cpio archive written here, and kernel modules in the order they must be loaded."""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterable
from pathlib import Path

from lab.console import run
from lab.errors import LabError


class Cpio:
    """A cpio archive in "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0
        self._folders: set[str] = set()

    def folder(self, path: str) -> None:
        """A folder with all folders above it."""
        for end in [index for index, letter in enumerate(path) if letter == "/"] + [len(path)]:
            name = path[:end]
            if name and name not in self._folders:
                self._folders.add(name)
                self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        if "/" in path:
            self.folder(path.rsplit("/", 1)[0])
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int) -> None:
        """A character device."""
        if "/" in path:
            self.folder(path.rsplit("/", 1)[0])
        self._entry(path, stat.S_IFCHR | 0o600, b"", major, minor)

    def archive(self) -> bytes:
        parts = list(self._parts)
        self._inode += 1
        parts.append(_record("TRAILER!!!", 0, 0, b"", 0, 0))
        return b"".join(parts)

    def _entry(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        self._inode += 1
        self._parts.append(_record(path, self._inode, mode, data, major, minor))


def _record(path: str, inode: int, mode: int, data: bytes, major: int, minor: int) -> bytes:
    name = path.encode() + b"\0"
    # Owner, group and time are 0: the same input gives the same bytes.
    fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def load_order(names: Iterable[str], dependencies: str, builtin: str) -> list[str]:
    """Module files (as in modules.dep) in the order of loading, for module names with '-' or '_'.

    `dependencies` is the text of modules.dep, whose lines name what a module needs, nearest last; `builtin` is that of
    modules.builtin: what is built in needs no file. Source: man 5 modules.dep.
    """
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in dependencies.splitlines():
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
        by_name[_module_name(file)] = file
    built_in = {_module_name(line) for line in builtin.split()}
    order: list[str] = []

    def add(file: str) -> None:
        if file in order:
            return
        for need in reversed(needs.get(file, [])):
            add(need)
        order.append(file)

    for name in names:
        key = name.replace("-", "_")
        if key in by_name:
            add(by_name[key])
        elif key not in built_in:
            raise LabError(f"kernel module {name}: neither a file nor built into this kernel")
    return order


def _module_name(file: str) -> str:
    return file.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def read_module(path: Path) -> bytes:
    """A module's bytes, decompressed: the loader of busybox takes only plain ones."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        raise LabError(f"{path}: modules compressed by zstd are not supported")
    return data


def build(root: Path, modules: Iterable[str], init: bytes, pci_modules: Iterable[str] = ()) -> bytes:
    """An initial file system from an unpacked Debian: busybox, the modules, `/init`.

    /modules/order names the modules in the order of loading, /modules/pci those that come after them where they are asked for.
    """
    kernel = kernel_version(root)
    folder = root / "lib" / "modules" / kernel
    dependencies = (folder / "modules.dep").read_text(encoding="utf-8")
    builtin = (folder / "modules.builtin").read_text(encoding="utf-8")
    order = load_order(modules, dependencies, builtin)
    later = [file for file in load_order(pci_modules, dependencies, builtin) if file not in order]
    cpio = Cpio()
    for name in ("bin", "dev", "proc", "sys", "root", "modules", "data", "www", "etc", "tmp"):
        cpio.folder(name)
    cpio.device("dev/console", 5, 1)
    cpio.device("dev/null", 1, 3)
    cpio.file("bin/busybox", (root / "bin" / "busybox").resolve().read_bytes(), 0o755)
    cpio.link("bin/sh", "busybox")
    for file in order + later:
        cpio.file(f"modules/{_module_name(file)}.ko", read_module(folder / file))
    for name, files in (("order", order), ("pci", later)):
        cpio.file(f"modules/{name}", "".join(f"{_module_name(file)}\n" for file in files).encode())
    cpio.file("init", init, 0o755)
    return cpio.archive()


def kernel_version(root: Path) -> str:
    versions = sorted(path.name for path in (root / "lib" / "modules").iterdir() if (path / "modules.dep").exists())
    if len(versions) != 1:
        raise LabError(f"{root}: one kernel expected, found {', '.join(versions) or 'none'}")
    return versions[0]


def vmlinux(root: Path, work: Path) -> bytes:
    """The uncompressed kernel: the compressed stream inside vmlinuz, found by its magic bytes.

    Xen unpacks a compressed kernel itself, which under emulation takes half a minute a boot.
    """
    data = (root / "boot" / f"vmlinuz-{kernel_version(root)}").read_bytes()
    start = data.find(b"\xfd7zXZ\0")
    if start >= 0:
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[start:])
    else:
        start = data.find(b"\x28\xb5\x2f\xfd")
        if start < 0:
            raise LabError("vmlinuz: compressed neither by xz nor by zstd")
        packed, plain = work / "kernel.zst", work / "kernel"
        packed.write_bytes(data[start:])
        # What follows the stream is not zstd's: it says so and ends with an error after all of it is written.
        run(["sh", "-c", 'zstd -q -d -c "$1" > "$2" 2>/dev/null; test -s "$2"', "sh", packed, plain], timeout=120)
        kernel = plain.read_bytes()
        packed.unlink()
        plain.unlink()
    if not kernel.startswith(b"\x7fELF"):
        raise LabError("vmlinuz: what it unpacks to is no ELF file")
    return kernel
