"""The catalogue: read from its file, or refused with the place of the fault."""

import tomllib
from collections.abc import Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.catalogue import Catalogue, Lane, Supersede, WhenUnknown
from services.core.catalogue_file import parse_catalogue, parse_duration_ms
from services.core.errors import Misconfigured
from services.core.events import Cap, Channel, Collecting, Success
from services.core.identifiers import AccountName, NotificationId, TypeName
from services.core.quiet import QuietHours
from services.core.quota import Per, Quota

TEXT = """
[accounts.postmark]
provider = "postmark"
settings = { stream = "outbound" }

[accounts.twilio]
provider = "twilio"
concurrency = 4
timeout = "5s"
settling = "10m"

[types.password_reset]
lane = "critical"
deadline = "1h"
[[types.password_reset.route]]
channel = "email"
accounts = ["postmark"]
give_up_after = "15m"
[[types.password_reset.route]]
channel = "sms"
accounts = ["twilio"]

[types.campaign]
lane = "bulk"
supersede = "never"
deadline = "1d"
[[types.campaign.route]]
channel = "email"
accounts = ["postmark"]
"""
ID = NotificationId(UUID(int=1))
HOUR = 3_600_000


def parse(text: str = TEXT, *, time_scale: float = 1.0) -> Catalogue:
    document: Mapping[str, object] = tomllib.loads(text)
    return parse_catalogue(document, version="v1", time_scale=time_scale)


def fault(text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        parse(text)
    return str(caught.value)


def test_what_is_written_is_what_is_read() -> None:
    catalogue = parse()
    reset = catalogue.types[TypeName("password_reset")]
    assert catalogue.version == "v1"
    assert (reset.lane, reset.deadline_ms) == (Lane.CRITICAL, HOUR)
    assert [leg.channel for leg in reset.route] == [Channel.EMAIL, Channel.SMS]
    assert [leg.accounts for leg in reset.route] == [("postmark",), ("twilio",)]
    assert [leg.give_up_after_ms for leg in reset.route] == [HOUR / 4, None]
    twilio = catalogue.accounts[AccountName("twilio")]
    assert (twilio.concurrency, twilio.timeout_ms, twilio.settling_ms) == (4, 5_000, HOUR / 6)


def test_what_is_left_out_is_the_safe_choice() -> None:
    reset = parse().types[TypeName("password_reset")]
    assert reset.supersede is Supersede.LATEST
    assert reset.when_unknown is WhenUnknown.HOLD
    assert parse().accounts[AccountName("postmark")].batch == 1


def test_a_key_ends_in_the_subject() -> None:
    reset = parse().types[TypeName("password_reset")]
    assert reset.key_of("shop", "u 1", None, ID) == "shop:u%201:password_reset"
    assert reset.key_of("shop", "u1", "o-1", ID) == "shop:u1:password_reset:o-1"


def test_a_type_that_is_never_superseded_has_the_id_as_its_subject() -> None:
    campaign = parse().types[TypeName("campaign")]
    assert campaign.key_of("shop", "u1", "spring", ID) == f"shop:u1:campaign:{ID}"


def quota(text: str, *, route: str = "twilio") -> Quota:
    told = TEXT.replace("concurrency = 4", f"quota = {text}")
    campaign = told.rpartition('accounts = ["postmark"]')
    catalogue = parse(f'{campaign[0]}accounts = ["{route}"]')
    found = catalogue.accounts[AccountName("twilio")].quota
    assert found is not None
    return found


def test_a_quota_names_its_windows_the_shortest_first() -> None:
    found = quota("{ per_day = 1000, per_second = 5 }")
    assert list(found.limits.items()) == [(Per.SECOND, 5), (Per.DAY, 1000)]
    assert found.jitter_us == 15_000
    assert parse().accounts[AccountName("postmark")].quota is None


def test_a_quota_is_the_providers_own_and_not_scaled_in_a_demonstration() -> None:
    text = TEXT.replace("concurrency = 4", 'quota = { per_second = 5, jitter = "20ms" }')
    found = parse(text, time_scale=60).accounts[AccountName("twilio")].quota
    assert found is not None
    assert (found.limits, found.jitter_us) == ({Per.SECOND: 5}, 20_000)


def test_only_an_account_that_bulk_shares_with_others_keeps_a_part_for_them() -> None:
    assert not quota("{ per_second = 5 }", route="postmark").shared
    assert quota("{ per_second = 5 }", route="twilio").shared


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("90s", 90_000), ("2m", 120_000), ("1h30m", 5_400_000), ("7d", 604_800_000)],
)
def test_a_duration_is_read_with_its_units(text: str, ms: int) -> None:
    assert parse_duration_ms(text, where="here") == ms


@pytest.mark.parametrize("text", ["", "90", "1.5h", "-1s", "1 h", "1w", "h", "1h30"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Misconfigured, match=r'here: .*"90s"'):
        parse_duration_ms(text, where="here")


def test_a_demonstration_divides_every_duration_but_a_provider_s_real_answer() -> None:
    catalogue = parse(time_scale=60)
    reset = catalogue.types[TypeName("password_reset")]
    twilio = catalogue.accounts[AccountName("twilio")]
    assert reset.deadline_ms == HOUR / 60
    assert reset.route[0].give_up_after_ms == HOUR / 240
    assert twilio.settling_ms == 10_000
    assert twilio.timeout_ms == 5_000
    assert catalogue.time_scale == 60


@given(st.floats(1, 1e12))
def test_no_scale_makes_a_duration_nothing(scale: float) -> None:
    assert parse(time_scale=scale).types[TypeName("password_reset")].deadline_ms >= 1


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('lane = "bulk"', 'lane = "slow"', "types"),
        ('supersede = "never"', 'superseed = "never"', "superseed"),
        ('deadline = "1d"', 'deadline = "soon"', "types.campaign.deadline"),
        ('give_up_after = "15m"', "give_up_after = 15", "give_up_after"),
        ('accounts = ["twilio"]', 'accounts = ["vonage"]', "types.password_reset.route[1]"),
        ('accounts = ["twilio"]', "accounts = []", "types.password_reset.route[1]"),
        ("concurrency = 4", "concurrency = 0", "accounts.twilio"),
        ("[accounts.twilio]", '[accounts."Twilio OTP"]', "Twilio OTP"),
        ('timeout = "5s"', 'timeout = "5"', "accounts.twilio.timeout"),
        ('lane = "critical"', "", "lane"),
        ("concurrency = 4", "quota = {}", "accounts.twilio.quota"),
        ("concurrency = 4", "quota = { per_second = 0 }", "accounts.twilio.quota"),
        ("concurrency = 4", "quota = { per_week = 9 }", "per_week"),
        ("concurrency = 4", 'quota = { per_second = 9, jitter = "2s" }', "twilio.quota.jitter"),
    ],
)
def test_a_fault_is_refused_with_its_place(old: str, new: str, where: str) -> None:
    assert old in TEXT
    assert where in fault(TEXT.replace(old, new))


def test_an_unknown_account_is_refused_with_those_there_are() -> None:
    message = fault(TEXT.replace('["twilio"]', '["vonage"]'))
    assert "vonage" in message
    assert "postmark, twilio" in message


def test_a_type_needs_a_leg() -> None:
    assert "types.x.route" in fault('accounts = {}\ntypes.x = {lane="bulk",deadline="1s",route=[]}')


@pytest.mark.parametrize(
    "sender", ["Shop <a@x.test>\\nBcc: b@x.test", "Shop\\u202e", "S\\u200bhop"]
)
def test_a_setting_that_hides_characters_is_refused(sender: str) -> None:
    with pytest.raises(Misconfigured, match=r"accounts\.postmark\.settings\.stream"):
        parse(TEXT.replace("outbound", sender))


def test_a_leg_may_await_its_receipt_for_a_time_that_is_scaled_too() -> None:
    text = TEXT.replace('give_up_after = "15m"', 'success = "delivered"\nwithin = "2m"')
    leg = parse(text, time_scale=60).types[TypeName("password_reset")].route[0]
    assert (leg.success, leg.within_ms) == (Success.DELIVERED, 2_000)
    assert parse(text).awaiting == {"password_reset"}
    assert parse().awaiting == frozenset()


@pytest.mark.parametrize("line", ['success = "seen"', 'within = "2m"'])
def test_what_is_awaited_and_for_how_long_belong_together(line: str) -> None:
    told = fault(TEXT.replace('give_up_after = "15m"', line))
    assert told.startswith("types.password_reset.route[0].within: ")


# -- categories and caps --------------------------------------------------------------------------

NEWS = """
[categories.news]
cap = { most = 3, per = "7d" }
[categories.account]
required = true
"""


def with_news(line: str, more: str = NEWS) -> str:
    return TEXT.replace("[types.campaign]\n", f"{more}[types.campaign]\n{line}\n")


def test_a_type_that_names_no_category_is_one_of_its_own() -> None:
    types = parse().types
    assert {name: (t.category, t.required, t.caps) for name, t in types.items()} == {
        "password_reset": ("password_reset", False, ()),
        "campaign": ("campaign", False, ()),
    }


def test_a_type_is_as_required_and_as_capped_as_its_category() -> None:
    types = parse(with_news('category = "news"')).types
    assert types[TypeName("campaign")].category == "news"
    assert types[TypeName("campaign")].caps == (
        Cap(
            scope="category:news",
            most=3,
            per_ms=7 * 24 * HOUR,
            words="they had 3 of news within 7d already",
        ),
    )
    assert parse(with_news('category = "account"')).types[TypeName("campaign")].required


def test_a_throttle_of_its_own_comes_first() -> None:
    text = with_news('category = "news"\nthrottle = { most = 1, per = "1h" }')
    scopes = [cap.scope for cap in parse(text).types[TypeName("campaign")].caps]
    assert scopes == ["type:campaign", "category:news"]


@pytest.mark.parametrize(
    ("line", "more", "told"),
    [
        ('category = "offers"', NEWS, "types.campaign.category: 'offers' is no category"),
        ('throttle = { most = 0, per = "1h" }', NEWS, "types.campaign.throttle.most: at least 1"),
        ('throttle = { most = 1, per = "soon" }', NEWS, "types.campaign.throttle.per: 'soon'"),
        ('throttle = { most = 1, per = "15d" }', NEWS, "types.campaign.throttle.per: at most 14"),
        (
            'category = "news"',
            NEWS.replace("most = 3", "most = 0"),
            "categories.news.cap.most: at least 1",
        ),
        ("", "[categories.News]\n", "categories"),
    ],
)
def test_what_is_wrong_with_categories_and_caps_is_named(line: str, more: str, told: str) -> None:
    assert told in fault(with_news(line, more))


# -- quiet hours --------------------------------------------------------------------------------

NIGHT = 'time_zone = "Europe/Berlin"\n[quiet_hours.night]\nfrom = "22:00"\nto = "08:00:30"\n'


def at_night(line: str = 'quiet_hours = "night"', hours: str = NIGHT) -> str:
    return hours + TEXT.replace("[types.campaign]\n", f"[types.campaign]\n{line}\n")


def test_a_type_may_have_quiet_hours_and_others_have_none() -> None:
    catalogue = parse(at_night(), time_scale=60)
    assert catalogue.time_zone == "Europe/Berlin"
    # by the clock on the wall: not scaled
    assert catalogue.types[TypeName("campaign")].quiet_hours == QuietHours(79_200, 28_830)
    assert catalogue.types[TypeName("password_reset")].quiet_hours is None
    assert parse().time_zone == "UTC"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (at_night('quiet_hours = "day"'), "types.campaign.quiet_hours: 'day' are no quiet hours"),
        (at_night(hours=NIGHT.replace("22:00", "22")), "quiet_hours.night.from: '22' is no time"),
        (at_night(hours=NIGHT.replace("22:00", "24:00")), "quiet_hours.night.from: '24:00'"),
        (at_night(hours=NIGHT.replace("22:00", "08:00:30")), "quiet_hours.night: it begins when"),
        (at_night(hours=NIGHT.replace("Berlin", "Nowhere")), "time_zone: 'Europe/Nowhere'"),
    ],
)
def test_what_is_wrong_with_quiet_hours_is_named(text: str, told: str) -> None:
    assert told in fault(text)


# -- digests ------------------------------------------------------------------------------------


def digesting(line: str) -> str:
    return TEXT.replace("[types.campaign]\n", f"[types.campaign]\n{line}\n")


def test_a_type_may_collect() -> None:
    types = parse(digesting('digest = { window = "1h" }'), time_scale=60).types
    assert types[TypeName("campaign")].digest == Collecting(window_ms=60_000, most=100)
    assert types[TypeName("password_reset")].digest is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            TEXT.replace(
                "[types.password_reset]\n", '[types.password_reset]\ndigest = { window = "1h" }\n'
            ),
            "types.password_reset.digest: each item counts",
        ),
        (digesting('digest = { window = "8d" }'), "types.campaign.digest.window: at most 7 days"),
        (digesting('digest = { window = "1h", most = 0 }'), "types.campaign.digest.most: 1 to"),
    ],
)
def test_what_is_wrong_with_a_digest_is_named(text: str, told: str) -> None:
    assert told in fault(text)
