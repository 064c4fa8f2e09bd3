"""The fakes for tests: the real clients, with a memory instead of a network."""

from uuid import uuid4

import pytest

from lastword import Addresses, Notification, NotKnown, Rejected, Sent, TypeSpec
from lastword.fakes import FakeAsyncLastword, FakeLastword

TO = {"email": "u1@example.test"}


@pytest.fixture
def fake() -> FakeLastword:
    return FakeLastword()


def test_what_was_sent_can_be_asserted_by_part_of_its_data(fake: FakeLastword) -> None:
    sent = fake.send(user="u1", type="code", to=TO, data={"code": "123", "minutes": 5})
    assert fake.assert_sent("u1", "code").id == sent.id
    assert fake.assert_sent("u1", "code", code="123").data == {"code": "123", "minutes": 5}


def test_what_was_not_sent_fails_and_says_what_was(fake: FakeLastword) -> None:
    with pytest.raises(AssertionError, match="nothing was"):
        fake.assert_sent("u1", "code")
    fake.send(user="u1", type="code", to=TO, data={"code": "123"})
    for user, type, data in [
        ("u2", "code", {}),
        ("u1", "reset", {}),
        ("u1", "code", {"code": "456"}),
        ("u1", "code", {"text": "123"}),
    ]:
        with pytest.raises(AssertionError, match=r"code to u1 with \{'code': '123'\}"):
            fake.assert_sent(user, type, **data)


def test_that_nothing_was_sent_can_be_asserted_as_narrowly_as_needed(fake: FakeLastword) -> None:
    fake.assert_not_sent()
    fake.send(user="u1", type="code", to=TO)
    fake.assert_not_sent("u2")
    fake.assert_not_sent("u1", "reset")
    for wide in [(), ("u1",), ("u1", "code"), (None, "code")]:
        with pytest.raises(AssertionError, match="code was sent to u1"):
            fake.assert_not_sent(*wide)


def test_the_newest_of_a_key_has_the_last_word(fake: FakeLastword) -> None:
    for code in ("1", "2"):
        fake.send(user="u1", type="code", to=TO, data={"code": code})
        fake.send(user="u1", type="code", to=TO, data={"code": code}, subject="s")
    assert len(fake.sent) == 4
    assert [each.data for each in fake.pending] == [{"code": "2"}] * 2
    latest = fake.latest("u1", "code")
    assert latest is not None
    assert (latest.data, latest.subject) == ({"code": "2"}, None)
    assert fake.latest("u1", "code", subject="s") != latest
    assert fake.latest("u2", "code") is None


def test_a_cancellation_takes_back_what_is_pending(fake: FakeLastword) -> None:
    first = fake.send(user="u1", type="code", to=TO)
    second = fake.send(user="u1", type="code", to=TO)
    fake.cancel(user="u1", type="code", id=first.id)
    assert [each.id for each in fake.pending] == [second.id]
    fake.cancel(user="u1", type="code")
    assert fake.latest("u1", "code") is None
    assert [each.id for each in fake.cancelled] == [first.id, None]


def test_the_same_id_again_is_the_same_notification(fake: FakeLastword) -> None:
    id = uuid4()
    first = fake.send(user="u1", type="code", to=TO, id=id)
    assert fake.send(user="u1", type="code", to=TO, id=id) == first
    assert len(fake.sent) == 1


def test_the_fake_is_as_strict_as_the_real_one(fake: FakeLastword) -> None:
    with pytest.raises(Rejected) as caught:
        fake.send(user="u1", type="code", to={"email": "nobody"})
    assert caught.value.faults[0].pointer == "#/to/email"
    fake.assert_not_sent()


def test_told_of_the_types_it_takes_no_others_and_knows_their_keys() -> None:
    fake = FakeLastword(types={"code": "critical", "receipt": TypeSpec("normal", "never")})
    with pytest.raises(Rejected) as caught:
        fake.send(user="u1", type="welcome", to=TO)
    assert caught.value.faults[0].pointer == "#/type"
    sent = [fake.send(user="u1", type="receipt", to=TO) for _ in range(2)]
    assert [each.key for each in sent] == [f"default:u1:receipt:{each.id}" for each in sent]
    assert len(fake.pending) == 2
    assert fake.latest("u1", "receipt") == fake.sent[-1]
    assert fake.send(user="u1", type="code", to=TO).key == "default:u1:code"


def test_failures_can_be_rehearsed(fake: FakeLastword) -> None:
    fake.fail_next(NotKnown("timed out"), times=2)
    with pytest.raises(NotKnown):
        fake.send(user="u1", type="code", to=TO)
    good = Notification(user="u1", type="code", to=TO)
    failed, sent = fake.send_many([good, good])
    assert isinstance(failed, NotKnown)
    assert isinstance(sent, Sent)
    assert len(fake.sent) == 1
    fake.clear()
    fake.assert_not_sent()


async def test_the_awaited_fake_answers_the_same_questions() -> None:
    async with FakeAsyncLastword(tenant="acme") as fake:
        sent = await fake.send(user="u1", type="code", to=TO, data={"code": "1"})
        [many] = await fake.send_many([Notification(user="u2", type="code", to=TO)])
        await fake.cancel(user="u2", type="code")
    assert fake.assert_sent("u1", "code", code="1").id == sent.id
    assert isinstance(many, Sent)
    assert fake.latest("u1", "code", tenant="acme") == fake.sent[0]
    assert fake.latest("u2", "code", tenant="acme") is None


def test_profiles_are_remembered_as_they_are_now(fake: FakeLastword) -> None:
    fake.put_recipient(user="u1", to=TO, locale="de")
    fake.put_recipient(user="u1", to=TO, preferences={"offers": {"email": False}})
    fake.put_recipient(user="u2", time_zone="Europe/Vienna")
    fake.remove_recipient(user="u2")
    assert fake.recipients.keys() == {("default", "u1")}
    assert fake.recipients["default", "u1"].preferences == {"offers": {"email": False}}
    assert fake.recipients["default", "u1"].locale is None


def test_who_is_on_a_list_is_remembered_as_it_is_now(fake: FakeLastword) -> None:
    for user in ("u1", "u2"):
        fake.put_member(list="team", user=user, to=TO)
    fake.remove_member(list="team", user="u2")
    assert fake.members["default", "team"].keys() == {"u1"}
    with pytest.raises(Rejected, match="#/list"):
        fake.put_member(list="", user="u1")


def test_a_request_to_a_list_names_it_alone_and_as_its_user(fake: FakeLastword) -> None:
    fake.send(user="list:team", type="campaign", to={"list": "team"})
    assert fake.assert_sent("list:team", "campaign").to == Addresses(list="team")
    with pytest.raises(Rejected, match="#/user"):
        fake.send(user="u1", type="campaign", to={"list": "team"})
    with pytest.raises(Rejected, match="#/to"):
        fake.send(user="list:team", type="campaign", to={"list": "team", "phone": "+15550001111"})
    with pytest.raises(Rejected, match="#/to"):
        fake.put_member(list="team", user="u1", to={"list": "team"})
