"""What is plainly wrong is said before anything leaves, at the field that is wrong."""

import copy
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastword import Addresses, Fault, Notification, NotKnown, Rejected, Unauthorised
from lastword.checks import address_faults
from lastword.contract import NotificationRequested
from lastword.notification import To, cancellation, prepare
from services.core.addresses import email_fault, phone_fault

TO = {"email": "u1@example.test"}
ID = UUID(int=7)


def prepared(
    *,
    user: str = "u1",
    to: To = TO,
    data: Mapping[str, object] | None = None,
    id: UUID | str | None = None,
    subject: str | None = None,
) -> NotificationRequested:
    notification = Notification(
        user=user, type="t", to=to, data=data or {}, id=id, subject=subject, locale="de-AT"
    )
    return prepare(notification, tenant="acme", new_id=ID)


def pointers(error: pytest.ExceptionInfo[Rejected]) -> list[str]:
    return [fault.pointer for fault in error.value.faults]


def test_an_id_is_made_unless_there_is_one() -> None:
    own = uuid4()
    assert prepared().id == ID
    assert prepared(id=own).id == own
    assert prepared(id=str(own)).id == own


def test_the_clients_tenant_is_taken_unless_the_notification_names_one() -> None:
    assert prepared().tenant == "acme"
    named = Notification(user="u1", type="t", to=TO, tenant="other")
    assert prepare(named, tenant="acme", new_id=ID).tenant == "other"


def test_addresses_may_be_a_mapping_or_the_struct() -> None:
    assert prepared(to=Addresses(email="u1@example.test")) == prepared(to=TO)


def test_later_changes_of_the_callers_data_do_not_reach_it() -> None:
    data: dict[str, object] = {"items": ["a"]}
    event = prepared(data=data)
    before = copy.deepcopy(event)
    data["items"] = []
    assert event == before


def test_what_has_one_way_to_be_json_is_written_so() -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert prepared(data={"at": moment, "id": ID, "price": Decimal("1.10")}).data == {
        "at": "2026-05-01T00:00:00Z",
        "id": str(ID),
        "price": "1.10",
    }


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (float("nan"), "#/data/x"),
        ([1, {"a/b": float("-inf")}], "#/data/x/1/a~1b"),
        (2**63, "#/data/x"),
        (-(2**63) - 1, "#/data/x"),
        ("a\0b", "#/data/x"),
        ({"a\0": 1}, "#/data/x"),
        ("\ud800", "#/data"),
        (object(), "#/data"),
        ("x" * 300_000, "#/data"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_data_that_could_not_travel_are_pointed_at(value: object, pointer: str) -> None:
    with pytest.raises(Rejected) as error:
        prepared(data={"x": value})
    assert pointers(error) == [pointer]


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_data_too_deep_are_refused_however_deep(depth: int) -> None:
    nested: dict[str, object] = {}
    for _ in range(depth):
        nested = {"a": nested}
    with pytest.raises(Rejected) as error:
        prepared(data=nested)
    assert pointers(error)[0].startswith("#/data")


def test_data_of_64_levels_are_not_too_deep() -> None:
    nested: dict[str, object] = {}
    for _ in range(63):
        nested = {"a": nested}
    assert prepared(data=nested).data == nested


@pytest.mark.parametrize(
    ("to", "pointer"),
    [
        ({}, "#/to"),
        ({"mail": "u1@example.test"}, "#/to"),
        ({"email": ""}, "#/to/email"),
        ({"email": "u1"}, "#/to/email"),
        ({"email": "U One <u1@example.test>"}, "#/to/email"),
        ({"email": "a@example.test,b@example.test"}, "#/to/email"),
        ({"email": "u1@example.test\r\nBcc: x"}, "#/to/email"),
        ({"email": "u1@example.test\n"}, "#/to/email"),
        ({"phone": "0155501111"}, "#/to/phone"),
        ({"phone": "+1 555 000 1111"}, "#/to/phone"),
        ({"phone": "+15550001111\n"}, "#/to/phone"),
    ],
)
def test_an_address_of_the_wrong_shape_is_pointed_at_and_not_repeated(
    to: dict[str, str], pointer: str
) -> None:
    with pytest.raises(Rejected) as error:
        prepared(to=to)
    assert pointers(error) == [pointer]
    assert not any(value and value in str(error.value) for value in to.values())


@pytest.mark.parametrize("user", ["", "a\nb", "a\0", "x" * 257])
def test_a_user_that_makes_no_key_is_refused(user: str) -> None:
    with pytest.raises(Rejected) as error:
        prepared(user=user)
    assert pointers(error) == ["#/user"]


def test_what_is_of_another_kind_is_pointed_at() -> None:
    wrong: dict[str, str] = {"user": 1}  # type: ignore[dict-item]
    with pytest.raises(Rejected) as error:
        prepared(**wrong)  # type: ignore[arg-type]
    assert error.value.faults == (Fault("#/user", "Expected `str`, got `int`"),)
    with pytest.raises(Rejected) as error:
        prepared(id="seven")
    assert pointers(error) == ["#/id"]
    with pytest.raises(Rejected) as error:
        prepared(to={"email": 7})  # type: ignore[dict-item]
    assert pointers(error) == ["#/to/email"]


def test_an_empty_subject_is_none_of_the_subjects() -> None:
    with pytest.raises(Rejected) as error:
        prepared(subject="")
    assert pointers(error) == ["#/subject"]
    with pytest.raises(Rejected):
        cancellation(user="u1", type="t", tenant="acme", subject="", id=None)


@given(
    st.one_of(st.emails(), st.from_regex(r"[^\s@]{1,9}@[^\s@]{1,9}\.[a-z]{2,4}", fullmatch=True))
)
def test_no_address_is_refused_here_that_lastword_takes(address: str) -> None:
    if email_fault(address) is None:
        assert not [*address_faults(Addresses(email=address))]


@given(st.from_regex(r"\+?[0-9 ]{5,17}", fullmatch=True))
def test_no_number_is_refused_here_that_lastword_takes(number: str) -> None:
    if phone_fault(number) is None:
        assert not [*address_faults(Addresses(phone=number))]


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no", (Fault("#/to", "is empty"),), 422),
        NotKnown("timed out", ID, 2.0),
        Unauthorised("no such key"),
    ],
)
def test_errors_survive_the_way_to_another_process(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_the_event_reads_back_as_the_engine_reads_it() -> None:
    event = prepared(data={"a": [1, None, True]})
    raw = msgspec.json.encode(event)
    assert msgspec.json.decode(raw, type=NotificationRequested) == event
