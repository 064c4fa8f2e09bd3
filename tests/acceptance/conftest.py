"""What acceptance tests share: the figures that they saw, printed at the end of the run."""

from collections.abc import Callable

import pytest

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Say a figure that this test saw."""
    said = request.config.stash.setdefault(_FIGURES, [])
    line = request.path.stem.removeprefix("test_")
    return lambda name, value: said.append(f"{line}: {name} = {value}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The figures, a line each."""
    for text in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"figure  {text}")
