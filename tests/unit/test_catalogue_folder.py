"""The catalogue's folder: read whole, and all that is wrong with it said at once."""

import json
import shutil
from pathlib import Path

import pytest

from services.core.checking import Problem
from services.core.errors import Misconfigured
from services.providers import PROVIDERS
from services.runtime.catalogue import check_catalogue, load_catalogue

SHOP = Path(__file__).parents[2] / "examples" / "shop"
CAPABILITIES = {name: provider.capabilities for name, provider in PROVIDERS.items()}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop, to be spoilt, in a folder with a space in its name."""
    return Path(shutil.copytree(SHOP, tmp_path / "the shop"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def problems(folder: Path) -> list[Problem]:
    return check_catalogue(folder, CAPABILITIES)


def only(folder: Path) -> Problem:
    (problem,) = problems(folder)
    return problem


def test_nothing_is_wrong_with_the_shop() -> None:
    assert problems(SHOP) == []


def test_the_version_changes_with_any_file_and_with_the_scale_of_time(shop: Path) -> None:
    first = load_catalogue(shop)
    assert load_catalogue(shop).catalogue.version == first.catalogue.version
    scaled = load_catalogue(shop, time_scale=60)
    change(shop / "templates/login_code/email.en.subject.txt", "login", "log-in")
    versions = {first.catalogue.version, scaled.catalogue.version}
    assert len(versions | {load_catalogue(shop).catalogue.version}) == 3


def test_the_scale_of_time_divides_what_the_file_says() -> None:
    assert load_catalogue(SHOP, time_scale=60).catalogue.types["login_code"].deadline_ms == 5_000  # type: ignore[index]


def test_a_folder_without_a_catalogue_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"lastword\.toml: there is no such file"):
        load_catalogue(tmp_path)


def test_a_slip_in_the_file_is_named_by_its_line(shop: Path) -> None:
    change(shop / "lastword.toml", 'provider = "mailgun"', "provider = mailgun")
    assert only(shop).where == "lastword.toml"
    assert (only(shop).line, only(shop).place) == (9, "lastword.toml:9")


def test_every_fault_of_the_file_is_told_at_once(shop: Path) -> None:
    change(shop / "lastword.toml", 'deadline = "5m"', 'deadline = "soon"')
    change(shop / "lastword.toml", 'lane = "bulk"', 'lane = "slow"')
    change(shop / "lastword.toml", "batch = 100", "batch = 0")
    told = "\n".join(map(str, problems(shop)))
    assert "lastword.toml:48: types.login_code.deadline: 'soon'" in told
    assert "lastword.toml:69: types.campaign.lane: Invalid enum value 'slow'" in told
    assert "lastword.toml:13: accounts.postmark-broadcast" in told


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('provider = "twilio"', 'provider = "telegraph"', "accounts.twilio-otp.provider", "one of"),
        ("batch = 100", "batch = 501", "accounts.postmark-broadcast.batch", "500"),
        (', from = "+15005550006"', "", "accounts.twilio-otp.settings.from", "missing"),
        ('stream = "outbound"', 'steam = "x"', "settings.steam", "not one of"),
        ('give_up_after = "2h"', 'give_up_after = "1d"', "order_shipped.route[0]", "no time"),
        (
            'give_up_after = "2h"',
            'success = "delivered"\nwithin = "1d"',
            "order_shipped.route[0]",
            "no time",
        ),
        ('["twilio-otp"]', '["mailgun-transactional"]', "password_reset.route[1]", "no sms"),
    ],
)
def test_what_an_account_or_leg_cannot_do_is_an_error(
    shop: Path, old: str, new: str, where: str, what: str
) -> None:
    change(shop / "lastword.toml", old, new)
    problem = only(shop)
    assert where in problem.where
    assert what in problem.detail
    assert problem.is_error


def test_a_leg_that_nothing_leads_to_is_warned_of(shop: Path) -> None:
    change(shop / "lastword.toml", 'give_up_after = "15m"\n', "")
    assert "only after a refusal" in only(shop).detail
    assert not only(shop).is_error


@pytest.mark.parametrize(
    ("old", "quota", "where", "what"),
    [
        ("batch = 100", '{ per_second = 50, jitter = "120ms" }', "quota.jitter", "88% of the"),
        ("batch = 100", "{ per_second = 500 }", "quota.per_second", "less than 64 ms"),
    ],
)
def test_a_quota_that_cannot_be_used_is_warned_of(
    shop: Path, old: str, quota: str, where: str, what: str
) -> None:
    change(shop / "lastword.toml", old, f"quota = {quota}")
    assert where in only(shop).where
    assert what in only(shop).detail
    assert not only(shop).is_error


@pytest.mark.parametrize("text", ["{", '{"type": "nothing"}', "[]", '{"$ref": "http://x.test/"}'])
def test_a_schema_that_is_none_stops_a_service(shop: Path, text: str) -> None:
    (shop / "types/login_code.schema.json").write_text(text)
    assert any(p.where == "types/login_code.schema.json" for p in problems(shop))
    with pytest.raises(Misconfigured, match=r"types/login_code\.schema\.json"):
        load_catalogue(shop)


def test_what_is_missing_for_a_type_is_named(shop: Path) -> None:
    (shop / "types/login_code.schema.json").unlink()
    (shop / "templates/login_code/email.en.txt").unlink()
    shutil.rmtree(shop / "templates/campaign")
    assert {p.where for p in problems(shop)} == {
        "types/login_code.schema.json",
        "templates/login_code/email.en.txt",
        "templates/campaign",
    }


def test_a_template_that_does_not_compile_is_named_by_its_line(shop: Path) -> None:
    (shop / "templates/login_code/email.en.txt").write_text("{{ code }}\n{% if %}\n")
    assert only(shop).where == "templates/login_code/email.en.txt, line 2"
    with pytest.raises(Misconfigured, match="line 2"):
        load_catalogue(shop)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ code }} {{ cod }}", "cod is not in"),
        ("{{ code }} {{ device }}", "device may be missing"),
    ],
)
def test_a_value_that_may_not_be_there_is_warned_of(shop: Path, text: str, what: str) -> None:
    (shop / "templates/login_code/email.en.txt").write_text(text)
    assert what in only(shop).detail
    load_catalogue(shop)


def test_a_value_that_is_asked_about_first_is_no_warning(shop: Path) -> None:
    text = "{{ code }}{% if device is defined %}{{ device }}{% endif %}"
    (shop / "templates/login_code/email.en.txt").write_text(text)
    assert problems(shop) == []


def test_strays_are_warned_of_and_misnamed_files_refused(shop: Path) -> None:
    (shop / "types/old.schema.json").write_text(json.dumps({"type": "object"}))
    (shop / "templates/login_code/fax.en.txt").write_text("x")
    (shop / "templates/login_code/.DS_Store").write_text("x")
    told = {p.where: p.is_error for p in problems(shop)}
    assert told == {"types/old.schema.json": False, "templates/login_code/fax.en.txt": True}


@pytest.mark.parametrize(
    ("deadline", "warned"), [("5m", True), ("10h", True), ("10h59m", True), ("11h", False)]
)
def test_a_deadline_that_a_long_night_outlasts_is_warned_of(
    shop: Path, deadline: str, warned: bool
) -> None:
    file, type = shop / "lastword.toml", "[types.login_code]\n"
    night = '[quiet_hours.night]\nfrom = "22:00"\nto = "08:00"\n\n'
    change(file, type, f'{night}{type}quiet_hours = "night"\n')
    change(file, 'deadline = "5m"', f'deadline = "{deadline}"')
    told = [(p.where, p.is_error) for p in problems(shop)]
    assert told == [("lastword.toml: types.login_code.deadline", False)] * warned
