"""What producers install: one light package, whose pytest plugin works from the wheel alone."""

import os
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.client.guide import blocks

CLIENT = Path(__file__).parents[2] / "client"

USERS_TEST = """
from lastword import AsyncLastword, Lastword


def reset_password(user, lastword: Lastword):
    to = {"email": f"{user}@example.test"}
    lastword.send(user=user, type="password_reset", to=to, data={"code": "1"})


def test_a_reset_tells_the_user(fake_lastword):
    reset_password("u1", fake_lastword)
    fake_lastword.assert_sent("u1", "password_reset", code="1")


def test_each_test_begins_with_nothing_sent(fake_lastword, fake_async_lastword):
    fake_lastword.assert_not_sent()
    fake_async_lastword.assert_not_sent()
    assert isinstance(fake_lastword, Lastword)
    assert isinstance(fake_async_lastword, AsyncLastword)


def test_an_assertion_that_does_not_hold_says_what_was_sent(fake_lastword):
    reset_password("u1", fake_lastword)
    fake_lastword.assert_sent("u2", "password_reset")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of ``client/``, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder, CLIENT],
        check=True,
    )
    [built] = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_package_lastword_alone(wheel: Path) -> None:
    tops = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"lastword"}
    assert (wheel / "lastword" / "py.typed").exists()


def test_the_wheel_needs_msgspec_and_httpx_and_kafka_only_on_request(wheel: Path) -> None:
    [metadata] = wheel.glob("*.dist-info/METADATA")
    needs = message_from_string(metadata.read_text()).get_all("Requires-Dist", [])
    assert sorted(need.split(">")[0] for need in needs if "extra" not in need) == [
        "httpx",
        "msgspec",
    ]
    assert [need for need in needs if "extra" in need] == [
        "confluent-kafka>=2.10; extra == 'kafka'"
    ]


def test_a_users_own_tests_find_the_fixtures_with_nothing_said(wheel: Path, tmp_path: Path) -> None:
    [of_the_guide] = blocks("producing.md", "python", "def test_")
    (tmp_path / "test_users.py").write_text(USERS_TEST + of_the_guide)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )
    assert "3 passed" in run.stdout, run.stdout + run.stderr
    assert "1 failed" in run.stdout
    assert "no password_reset to u2 was sent; these were: password_reset to u1" in run.stdout


def test_the_wheel_is_what_is_imported_and_nothing_of_the_engine_comes_with_it(
    wheel: Path, tmp_path: Path
) -> None:
    script = "import sys, lastword, lastword.testing; print(lastword.__file__, *sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    path, *modules = run.stdout.split()
    assert Path(path).is_relative_to(wheel)
    assert not {"services", "schemas", "confluent_kafka", "httpx"} & set(modules)
