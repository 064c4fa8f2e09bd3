"""``lastword check``: what is wrong with a catalogue, for people and for programs."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.cli.group import lastword

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def _check(*arguments: object) -> Result:
    return CliRunner().invoke(lastword, ["check", *map(str, arguments)])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy to be broken, in a folder whose name has a space."""
    return Path(shutil.copytree(SHOP, tmp_path / "my shop"))


def test_the_example_passes_strictly() -> None:
    result = _check(SHOP, "--strict")
    assert result.exit_code == 0, result.output
    assert "password_reset (critical)" in result.output


def test_an_error_names_its_file_and_ends_with_code_2(shop: Path) -> None:
    (shop / "templates" / "login_code" / "email.en.subject.txt").unlink()
    result = _check(shop)
    assert result.exit_code == 2
    assert "error: templates/login_code/email.en.subject.txt: missing" in result.output


def test_programs_get_each_problem_with_its_place(shop: Path) -> None:
    (shop / "types" / "campaign.schema.json").unlink()
    result = _check(shop, "--json")
    found = json.loads(result.output)
    assert (result.exit_code, found["ok"]) == (2, False)
    assert [problem["where"] for problem in found["problems"]] == ["types/campaign.schema.json"]


def test_a_warning_may_be_meant_so_unless_one_is_strict(shop: Path) -> None:
    (shop / "types" / "forgotten.schema.json").write_text("{}")
    assert _check(shop).exit_code == 0
    assert _check(shop, "--strict").exit_code == 2


def test_a_vendor_that_does_not_do_the_channel_is_found(shop: Path) -> None:
    file = shop / "lastword.toml"
    file.write_text(
        file.read_text().replace('accounts = ["twilio-otp"]', 'accounts = ["postmark-broadcast"]')
    )
    assert "which does email, no sms" in _check(shop).output


def test_a_folder_without_a_catalogue_is_an_error(tmp_path: Path) -> None:
    result = _check(tmp_path)
    assert result.exit_code == 2
    assert "lastword.toml" in result.output
