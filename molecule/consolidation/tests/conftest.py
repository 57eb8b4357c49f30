# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The converged pair for all tests, and what the consoles show of one that fails."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import NAME, Scene

from lab.state import find_lab
from tests.lab.consoles import attach


@pytest.fixture(name="scene", scope="module")
def _scene() -> Iterator[Scene]:
    scene = Scene()
    scene.prepare()
    yield scene
    # What the last of these tests left behind is nothing to the tests after them.
    scene.restore()
    scene.drop_connections()


@pytest.fixture(name="pair")
def _pair(scene: Scene) -> Scene:
    """The pair as the test before left it, or as it was saved when that one failed or left it spoiled."""
    if scene.spoiled:
        scene.restore()
    return scene


@pytest.fixture(name="fresh")
def _fresh(scene: Scene) -> Scene:
    """The pair as it was saved; the test may leave anything behind."""
    scene.restore()
    scene.spoiled = True
    return scene


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    attach(report, NAME)
    if report.failed and find_lab(NAME):
        scene = getattr(item, "funcargs", {}).get("scene")
        if scene:
            scene.spoiled = True
    return report
