# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The converged pair for all tests, and what the consoles show of one that fails."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import NAME, Scene

from lab.state import find_lab
from tests.lab.consoles import Consoles
from tests.lab.emulation import OnceMore
from tests.lab.hands import ROOT


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(OnceMore(ROOT, NAME))
    config.pluginmanager.register(Consoles(NAME))


@pytest.fixture(name="scene", scope="session")
def _scene() -> Iterator[Scene]:
    """The pair as it is."""
    scene = Scene()
    yield scene
    scene.drop_connections()


@pytest.fixture(name="converged", scope="module")
def _converged(scene: Scene) -> Iterator[Scene]:
    scene.prepare()
    yield scene
    # What the last of these tests left behind is nothing to the tests after them.
    scene.restore()


@pytest.fixture(name="pair")
def _pair(converged: Scene) -> Scene:
    """The pair as the test before left it, or as it was saved when that one failed or left it spoiled."""
    if converged.spoiled:
        converged.restore()
    return converged


@pytest.fixture(name="fresh")
def _fresh(converged: Scene) -> Scene:
    """The pair as it was saved; the test may leave anything behind."""
    converged.restore()
    converged.spoiled = True
    return converged


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.failed and find_lab(NAME):
        scene = getattr(item, "funcargs", {}).get("scene")
        if scene:
            scene.spoiled = True
    return report
