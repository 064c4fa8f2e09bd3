"""The retries over HTTP, against a simulated server: whatever it does, nothing can duplicate."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastword import Notification, NotKnown, Rejected, Sent, Unauthorised
from lastword.contract import NotificationCancelled, NotificationRequested
from lastword.errors import LastwordError
from lastword.http_replies import Answer, Reply
from lastword.http_route import HttpRoute
from lastword.http_tries import Post
from lastword.notification import member, prepare, profile
from lastword.retries import Patience
from tests.client.simulated import Clock, Fate, Server, chances, play

PATIENCE = Patience(total=10.0, each=4.0)
fates = st.lists(st.sampled_from(list(Fate)), min_size=1, max_size=12)
numbers = st.lists(st.floats(0.05, 1), min_size=1, max_size=5)
open_fates = st.sampled_from([Fate.TAKEN, Fate.AWAY, Fate.REFUSED, Fate.THROTTLED])
item_fates = st.sampled_from([Fate.TAKEN, Fate.AWAY, Fate.AWAY_AFTER, Fate.REFUSED, Fate.THROTTLED])


def request(user: str = "u1", text: str | None = None) -> NotificationRequested:
    data = {} if text is None else {"text": text}
    notification = Notification(user=user, type="t", to={"email": "u@example.test"}, data=data)
    return prepare(notification, tenant="default", new_id=uuid4())


def route(clock: Clock, chance: Sequence[float] = (0.5,)) -> HttpRoute:
    return HttpRoute(PATIENCE, clock=clock, chance=chances(chance), new_id=uuid4)


def attempt(server: Server, clock: Clock, sent: NotificationRequested) -> Sent | LastwordError:
    try:
        return play(route(clock).send(sent), server, clock)
    except LastwordError as error:
        return error


@given(fates, numbers, st.floats(0.001, 6))
def test_every_try_of_a_call_is_the_same_notification_within_the_time(
    script: list[Fate], chance: list[float], took: float
) -> None:
    server, clock = Server(script), Clock()
    started = clock.now
    try:
        play(route(clock, chance).send(request()), server, clock, took)
    except LastwordError:
        pass
    assert len({(post.path, post.idempotency_key, post.body) for post in server.posts}) == 1
    assert len(server.taken) <= 1
    assert clock.now - started <= PATIENCE.total + 1e-6
    assert all(0 < post.timeout <= PATIENCE.each for post in server.posts)


@given(fates)
def test_what_a_call_says_is_so(script: list[Fate]) -> None:
    server = Server(script)
    sent = request()
    match attempt(server, Clock(), sent):
        case Sent(id=id):
            assert [*server.taken] == [id] == [sent.id]
        case Rejected() | Unauthorised():
            assert not server.taken
        case NotKnown(id=id):
            assert id == sent.id
        case other:
            pytest.fail(f"{other!r} is no answer to a send")


@given(fates, st.lists(st.lists(item_fates, max_size=6), max_size=6), st.integers(1, 9))
def test_what_a_batch_says_of_each_is_so(
    script: list[Fate], items: list[list[Fate]], size: int
) -> None:
    server, clock = Server(script, items), Clock()
    requests = [request(f"u{place % 3}") for place in range(size)]
    results = play(route(clock).send_many(requests), server, clock)
    assert len(results) == size
    for sent, result in zip(requests, results, strict=True):
        match result:
            case Sent(id=id):
                assert id == sent.id
                assert id in server.taken
            case NotKnown(id=id):
                assert id == sent.id
            case _:
                assert sent.id not in server.taken


@given(
    st.lists(st.sampled_from([Fate.TAKEN, Fate.AWAY, Fate.LOST_BEFORE]), max_size=3),
    st.lists(st.lists(open_fates, min_size=2, max_size=6), min_size=1, max_size=6),
    st.integers(2, 9),
)
def test_a_batch_never_puts_an_older_one_after_a_newer_one_known_to_be_taken(
    script: list[Fate], items: list[list[Fate]], size: int
) -> None:
    server, clock = Server([*script, Fate.TAKEN], items), Clock()
    requests = [request("u1") for _ in range(size)]
    results = play(route(clock).send_many(requests), server, clock)
    order = [*server.taken]
    known = [r.id for r in results if isinstance(r, Sent)]
    assert known == sorted(known, key=order.index)


def test_a_refusal_after_a_lost_reply_is_not_taken_for_proof() -> None:
    error = attempt(Server([Fate.LOST_AFTER, Fate.FORBIDDEN]), Clock(), request())
    assert isinstance(error, NotKnown)
    assert isinstance(error.__cause__, Unauthorised)


def test_a_refusal_after_tries_that_never_arrived_is_a_refusal() -> None:
    error = attempt(Server([Fate.UNREACHABLE, Fate.THROTTLED, Fate.REFUSED]), Clock(), request())
    assert isinstance(error, Rejected)
    assert error.status == 422


def test_the_same_notification_again_has_the_same_idempotency_key() -> None:
    server, sent = Server([Fate.TAKEN]), request()
    assert attempt(server, Clock(), sent) == attempt(server, Clock(), sent)
    assert {post.idempotency_key for post in server.posts} == {str(sent.id)}


def test_the_body_has_no_tag_and_no_defaults() -> None:
    server = Server([Fate.TAKEN])
    attempt(server, Clock(), request())
    assert msgspec.json.decode(server.posts[0].body).keys() == {"user", "type", "to", "id"}


def test_batches_are_cut_by_count_and_by_size() -> None:
    server, clock = Server([Fate.TAKEN]), Clock()
    small = [request() for _ in range(1_001)]
    large = [request(text="x" * 250_000) for _ in range(5)]
    results = play(route(clock).send_many(small + large), server, clock)
    assert [result.id for result in results if isinstance(result, Sent)] == [
        each.id for each in small + large
    ]
    counts = [len(msgspec.json.decode(post.body)["notifications"]) for post in server.posts]
    assert counts == [1_000, 4, 2]
    assert all(len(post.body) < 2**20 for post in server.posts)


def test_once_a_batch_is_given_up_the_next_ones_do_not_wait_as_well() -> None:
    server, clock = Server([Fate.AWAY]), Clock()
    started = clock.now
    results = play(route(clock).send_many([request() for _ in range(5_000)]), server, clock)
    assert len(results) == 5_000
    assert {type(result) for result in results} == {NotKnown}
    assert len({result.id for result in results if isinstance(result, NotKnown)}) == 5_000
    assert clock.now - started <= PATIENCE.total


def test_no_notifications_are_no_post() -> None:
    server = Server([Fate.TAKEN])
    assert play(route(Clock()).send_many([]), server, Clock()) == []
    assert not server.posts


def test_a_cancellation_is_repeated_under_one_key() -> None:
    server, clock = Cancelling([503, 503, 202]), Clock()
    play(route(clock).cancel(NotificationCancelled(user="u1", type="t")), server, clock)
    assert {post.path for post in server.posts} == {"/v1/cancellations"}
    assert len(server.posts) == 3
    assert len({UUID(post.idempotency_key) for post in server.posts}) == 1


def test_a_cancellation_that_stays_unknown_names_no_id() -> None:
    server, clock = Cancelling([503]), Clock()
    with pytest.raises(NotKnown) as caught:
        play(route(clock).cancel(NotificationCancelled(user="u1", type="t")), server, clock)
    assert caught.value.id is None


class Cancelling(Server):
    """Answers with these statuses, the last one for ever."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__([Fate.TAKEN])
        self._statuses = statuses

    def answer(self, post: Post) -> Answer:
        self.posts.append(post)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return Reply(status=status, body=b"{}")


@pytest.mark.parametrize(
    ("tenant", "path"),
    [
        ("default", "/v1/recipients/u%2F1"),
        ("a b", "/v1/recipients/u%2F1?tenant=a%20b"),
    ],
)
def test_a_profile_is_put_under_its_user_and_repeated_until_it_is_taken(
    tenant: str, path: str
) -> None:
    server, clock = Cancelling([503, 202]), Clock()
    who = profile(user="u/1", tenant=tenant, locale="de", preferences={"offers": {"*": False}})
    play(route(clock).put(who), server, clock)
    assert [(post.method, post.path) for post in server.posts] == [("PUT", path)] * 2
    assert msgspec.json.decode(server.posts[0].body) == {
        "locale": "de",
        "preferences": {"offers": {"*": False}},
    }


def test_a_profile_is_removed_by_its_path_alone() -> None:
    server, clock = Cancelling([202]), Clock()
    play(route(clock).remove(profile(user="u1", tenant="default")), server, clock)
    assert [(p.method, p.path, p.body) for p in server.posts] == [
        ("DELETE", "/v1/recipients/u1", b"")
    ]


def test_a_member_is_put_on_a_list_and_taken_off_by_the_path() -> None:
    server, clock = Cancelling([202]), Clock()
    who = member(list="a/b", user="u1", tenant="acme", to={"email": "u1@example.test"})
    play(route(clock).put(who), server, clock)
    play(route(clock).remove(member(list="a/b", user="u1", tenant="acme")), server, clock)
    path = "/v1/lists/a%2Fb/members/u1?tenant=acme"
    assert [(post.method, post.path) for post in server.posts] == [("PUT", path), ("DELETE", path)]
    assert msgspec.json.decode(server.posts[0].body) == {"to": {"email": "u1@example.test"}}
