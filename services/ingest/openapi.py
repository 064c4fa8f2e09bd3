"""The description of the API: OpenAPI 3.0, since the page that shows it reads no newer one.

OpenAPI 3.0 cannot hold a JSON Schema 2020-12, so the schemas of the types' data stand beside it,
whole, under ``x-data-schemas``.
"""

from collections.abc import Mapping

from services.core.catalogue import Catalogue
from services.core.events import Channel
from services.core.identifiers import TypeName
from services.core.recipients import ALL
from services.ingest.decide import MAX_BATCH
from services.ingest.problems import MEDIA_TYPE

__all__ = ["describe"]

Json = dict[str, object]
Parts = Mapping[str, object]


def describe(catalogue: Catalogue, schemas: Mapping[TypeName, object], *, keyed: bool) -> Json:
    """The whole document, for one catalogue; ``keyed``: callers need an API key."""
    document: Json = {
        "openapi": "3.0.3",
        "info": {
            "title": "Lastword ingest",
            "version": "1",
            "description": (
                "Say what happened to whom. An answer of 202 means that it is in the log and will"
                " be closed exactly once; what became of it is read at the tracker. 503 means"
                " *not known*: repeat the call with the same `Idempotency-Key`, which is never"
                " taken for a second notification. The first body under a key is the one that"
                " counts: another one is answered 202 as well, and dead-lettered as"
                " `id_used_before`."
            ),
        },
        "paths": {
            "/v1/notifications": {"post": _one()},
            "/v1/notifications/batch": {"post": _batch()},
            "/v1/cancellations": {"post": _cancel()},
            "/v1/recipients/{user}": {"put": _put_profile(), "delete": _remove_profile()},
            "/v1/lists/{list}/members": {"post": _put_members()},
            "/v1/lists/{list}/members/{user}": {"put": _put_member(), "delete": _remove_member()},
        },
        "components": {
            "schemas": {
                **_schemas(sorted(catalogue.types)),
                "Member": _object({"to": _addresses()}, []),
                "Members": _object({"members": _members()}, ["members"]),
                "Recipient": _object(_profile(sorted(catalogue.categories)), []),
            }
        },
        "x-data-schemas": dict(schemas),
    }
    if keyed:
        document["components"] |= {  # type: ignore[operator]
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}
        }
        document["security"] = [{"key": []}]
    return document


def _one() -> Json:
    return {
        "operationId": "requestNotification",
        "summary": "Ask for one notification",
        "parameters": [_idempotency_key()],
        "requestBody": _body("Notification"),
        "responses": _responses({"202": _answer("Appended to the log.", "Accepted")}),
    }


def _batch() -> Json:
    answers = {
        "202": _answer("All appended to the log.", "BatchResult"),
        "207": _answer("Some were; each result has its own status.", "BatchResult"),
    }
    return {
        "operationId": "requestNotifications",
        "summary": f"Ask for up to {MAX_BATCH} notifications in one go",
        "parameters": [_idempotency_key()],
        "requestBody": _body("Batch"),
        "responses": _responses(answers),
    }


def _cancel() -> Json:
    return {
        "operationId": "cancelNotification",
        "summary": "Cancel what is pending under a key",
        "description": "With an id, only that notification. What was sent already stays sent.",
        "requestBody": _body("Cancellation"),
        "responses": _responses({"202": _answer("Appended to the log.", "Cancelled")}),
    }


def _put_profile() -> Json:
    return {
        "operationId": "putRecipient",
        "summary": "Say where somebody is, and what they want: it replaces what was said before",
        "parameters": _of_whom(),
        "requestBody": _body("Recipient"),
        "responses": _responses({"202": _answer("Appended to the log.", "Cancelled")}),
    }


def _remove_profile() -> Json:
    return {
        "operationId": "removeRecipient",
        "summary": "Forget somebody's profile",
        "parameters": _of_whom(),
        "responses": _responses({"202": _answer("Appended to the log.", "Cancelled")}),
    }


def _put_members() -> Json:
    return {
        "operationId": "putListMembers",
        "summary": f"Up to {MAX_BATCH} are on a list",
        "parameters": [_in_path("list", 128), *_of_whom()[1:]],
        "requestBody": _body("Members"),
        "responses": _responses(
            {
                "202": _answer("All appended to the log.", "BatchResult"),
                "207": _answer("Some were; each result has its own status.", "BatchResult"),
            }
        ),
    }


def _put_member() -> Json:
    return {
        "operationId": "putListMember",
        "summary": "Somebody is on a list",
        "parameters": [_in_path("list", 128), *_of_whom()],
        "requestBody": _body("Member"),
        "responses": _responses({"202": _answer("Appended to the log.", "Cancelled")}),
    }


def _remove_member() -> Json:
    return {
        "operationId": "removeListMember",
        "summary": "Somebody is on a list no more",
        "parameters": [_in_path("list", 128), *_of_whom()],
        "responses": _responses({"202": _answer("Appended to the log.", "Cancelled")}),
    }


def _members() -> Json:
    user = _text("Who is on it.", 256, example="u1")
    item = _object({"user": user, "to": _addresses()}, ["user"])
    return {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_BATCH}


def _in_path(name: str, most: int) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": most}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _of_whom() -> list[Json]:
    tenant = {"type": "string", "minLength": 1, "maxLength": 64}
    told = "The API key's own, unless given."
    return [
        _in_path("user", 256),
        {"name": "tenant", "in": "query", "description": told, "schema": tenant},
    ]


def _idempotency_key() -> Json:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes the id, unless the body has one: repeats are one notification.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _answer(description: str, schema: str, media_type: str = "application/json") -> Json:
    return {"description": description, "content": {media_type: {"schema": _ref(schema)}}}


def _responses(good: Parts) -> Json:
    refusals = {
        "400": "No JSON, or a bad header.",
        "401": "No API key that is in use.",
        "403": "The tenant is not the key's.",
        "413": "Too large.",
        "415": "Not JSON, or compressed.",
        "422": "A field is wrong: see `errors`.",
        "503": "Not known: retry with the same key.",
    }
    return {**good} | {s: _answer(text, "Problem", MEDIA_TYPE) for s, text in refusals.items()}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _text(description: str, most: int | None = None, **more: object) -> Json:
    length = {} if most is None else {"minLength": 1, "maxLength": most}
    return {"type": "string", "description": description, **length, **more}


def _list(schema: str) -> Json:
    return {"type": "array", "items": _ref(schema), "minItems": 1, "maxItems": MAX_BATCH}


def _object(properties: Parts, required: list[str]) -> Json:
    shape: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    # an empty list of required fields is none to OpenAPI 3.0
    return shape | {"required": required} if required else shape


def _schemas(types: list[TypeName]) -> Json:
    fault = _object({"pointer": _text("JSON pointer."), "detail": _text("What to change.")}, [])
    problem = {
        "title": _text("The same for every problem of this status."),
        "status": {"type": "integer"},
        "detail": _text("What to do."),
        "errors": {"type": "array", "items": fault},
    }
    accepted = {"id": _text("The notification's id.", format="uuid"), "key": _KEY}
    result = {"status": {"type": "integer"}} | accepted | problem
    return {
        "Notification": _object(_notification(types), ["user", "type"]),
        "Batch": _object({"notifications": _list("Notification")}, ["notifications"]),
        "Cancellation": _object(_whose(types), ["user", "type"]),
        "Accepted": _object(accepted, ["id", "key"]),
        "Cancelled": _object(accepted, ["key"]),
        "Result": _object(result, ["status"]),
        "BatchResult": _object({"results": _list("Result")}, ["results"]),
        "Problem": _object(problem, ["title", "status", "detail"]),
    }


_KEY: Json = {"type": "string", "description": "A newer notification of a key supersedes it."}


def _whose(types: list[TypeName]) -> Json:
    """What names a key, and one notification under it."""
    return {
        "user": _text("Who is told.", 256, example="u1"),
        "type": _text("One of the catalogue's types.", enum=types),
        "subject": _text("Narrows what supersedes what: an order number.", 256, nullable=True),
        "tenant": _text("The API key's own, unless given.", 64),
        "id": _text("Your own id of it.", format="uuid", nullable=True),
    }


def _addresses() -> Json:
    to = {
        "email": _text("An address without a name.", example="u1@example.test", nullable=True),
        "phone": _text("E.164.", example="+15550001111", nullable=True),
    }
    return _object(to, []) | {"minProperties": 1, "nullable": True}


def _profile(categories: list[str]) -> Json:
    by_channel = _object({name: {"type": "boolean"} for name in (ALL, *Channel)}, [])
    return {
        "to": _addresses(),
        "locale": _text("BCP 47, where a request has none.", example="en", nullable=True),
        "time_zone": _text("IANA name.", example="Europe/Berlin", nullable=True),
        "preferences": _object({name: by_channel for name in (ALL, *categories)}, []),
    }


def _notification(types: list[TypeName]) -> Json:
    addresses = _addresses()
    to = {
        **addresses,
        "description": "Without it, as the user's profile says; or all who are on a list.",
        "properties": {
            **addresses["properties"],  # type: ignore[dict-item]
            "list": _text("Instead of addresses.", 128, example="subscribers", nullable=True),
        },
    }
    return _whose(types) | {
        "to": to,
        "data": {"type": "object", "description": "By the type's schema: see x-data-schemas."},
        "locale": _text("BCP 47, for the choice of a template.", example="en", nullable=True),
        "deadline": _text(
            "After this it is dropped; at the latest at its type's own deadline.",
            format="date-time",
            nullable=True,
        ),
        "send_at": _text(
            "Not before this, which may be a week ahead; deadlines count from then on.",
            format="date-time",
            nullable=True,
        ),
        "time_zone": _text("Where they live.", example="Europe/Berlin", nullable=True),
    }
