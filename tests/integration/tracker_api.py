"""The tracker's HTTP as it has to be, described in OpenAPI for those who hold it against that."""

from collections.abc import Mapping, Sequence

from services.core.lifecycle import Status

__all__ = ["describe"]

Json = dict[str, object]
_UUID: Json = {"type": "string", "format": "uuid"}
_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TIME: Json = {"type": "string", "format": "date-time"}


def describe(accounts: Sequence[str]) -> Json:
    """``accounts``: that have webhooks."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Lastword tracker", "version": "1"},
        "paths": {
            "/v1/deliveries": {"get": _many()},
            "/v1/deliveries/{id}": {"get": _one()},
            "/v1/summary": {"get": _summary()},
            "/webhooks/{account}": {"post": _webhook(accounts)},
        },
        "components": {
            "schemas": {"Delivery": _delivery(), "Line": _line(), "Problem": _problem()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _many() -> Json:
    filters = [_query(name, _TEXT) for name in ("tenant", "user", "type", "key")]
    page = _object({"deliveries": _list(_ref("Delivery")), "next": _nullable(_TEXT)})
    limit: Json = {"type": "integer", "minimum": 1, "maximum": 500}
    return {
        "parameters": [
            *filters,
            _query("status", {"type": "string", "enum": list(Status)}),
            _query("limit", limit),
            _query("cursor", {"type": "string", "maxLength": 200}),
        ],
        "responses": {"200": _answer(page), **_problems("400", "401", "503")},
        "security": [{"key": []}],
    }


def _one() -> Json:
    whole: Json = {
        "allOf": [_ref("Delivery"), _object({"timeline": _list(_ref("Line"))})],
    }
    return {
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": _UUID}],
        "responses": {"200": _answer(whole), **_problems("400", "401", "404", "503")},
        "security": [{"key": []}],
    }


def _summary() -> Json:
    counts: Json = {"type": "object", "additionalProperties": _COUNT}
    types: Json = {"type": "object", "additionalProperties": counts}
    return {
        "parameters": [_query("tenant", _TEXT)],
        "responses": {
            "200": _answer(_object({"types": types, "statuses": counts})),
            **_problems("400", "401", "503"),
        },
        "security": [{"key": []}],
    }


def _webhook(accounts: Sequence[str]) -> Json:
    account: Json = {"type": "string", "enum": list(accounts)}
    return {
        "parameters": [{"name": "account", "in": "path", "required": True, "schema": account}],
        "requestBody": {
            "content": {
                "application/json": {"schema": {}},
                "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
            }
        },
        "responses": {
            "200": {"description": "Taken.", "content": {"text/plain": {"schema": _TEXT}}},
            **_problems("400", "401", "404", "408", "413", "415", "503"),
        },
    }


def _delivery() -> Json:
    texts = ("tenant", "type", "key", "user", "channel", "account", "provider_ref")
    times = ("delivered_at", "opened_at", "clicked_at", "complained_at", "unsubscribed_at")
    return _object(
        {
            "id": _UUID,
            **{name: _nullable(_TEXT) for name in texts},
            "status": {"type": "string", "enum": list(Status)},
            "reason": _TEXT,
            "detail": _TEXT,
            "closed": {"type": "boolean"},
            "superseded_by": _nullable(_UUID),
            "attempts": _COUNT,
            "requested_at": _TIME,
            "updated_at": _TIME,
            **{name: _nullable(_TIME) for name in times},
            "revision": _COUNT,
        }
    )


def _line() -> Json:
    return {
        "type": "object",
        "properties": {"at": _TIME, "what": _TEXT},
        "required": ["at", "what"],
    }


def _problem() -> Json:
    fault = _object({"parameter": _TEXT, "detail": _TEXT})
    required: Json = {"title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}
    return {
        "type": "object",
        "properties": {**required, "errors": _list(fault)},
        "required": list(required),
        "additionalProperties": False,
    }


def _problems(*statuses: str) -> Mapping[str, object]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {status: {"description": "A problem.", "content": content} for status in statuses}


def _answer(schema: Json) -> Json:
    return {"description": "Found.", "content": {"application/json": {"schema": schema}}}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _nullable(schema: Json) -> Json:
    return {**schema, "nullable": True}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
