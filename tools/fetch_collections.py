# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring the collections of requirements.yml into .vendor: from Galaxy, or from the `ansible` package without it.

Usage: python tools/fetch_collections.py [--from-package]
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".vendor"
# The release of the package whose collections fit ansible-core 2.19.
PACKAGE = "ansible==12.3.0"


def from_galaxy() -> bool:
    """Install by ansible-galaxy; False when it cannot."""
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    wanted = str(ROOT / "requirements.yml")
    command = [str(galaxy), "collection", "install", "-r", wanted, "-p", str(TARGET), "--timeout", "20"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def from_package(names: list[str]) -> None:
    """Unpack the named collections from the wheel of the `ansible` package."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", scratch, PACKAGE], check=True,
        )
        with zipfile.ZipFile(next(Path(scratch).glob("ansible-*.whl"))) as wheel:
            folders = {name: f"ansible_collections/{name.replace('.', '/')}/" for name in names}
            members = [member for member in wheel.namelist() if member.startswith(tuple(folders.values()))]
            missing = [name for name in names if not any(path.startswith(folders[name]) for path in members)]
            if missing:
                sys.exit(f"{PACKAGE} does not hold {', '.join(missing)}; install it from Galaxy into {TARGET}")
            wheel.extractall(TARGET, members)


def main() -> None:
    names = [item["name"] for item in yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]]
    if "--from-package" in sys.argv[1:] or not from_galaxy():
        print(f"Galaxy is out of reach: taking {', '.join(names)} from the package {PACKAGE}")
        from_package(names)
    print(f"collections in {TARGET.name}: {', '.join(names)}")


if __name__ == "__main__":
    main()
