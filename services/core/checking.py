"""What can be wrong with a catalogue, its schemas and its templates, found before anything is sent.

``lastword check`` shows all of it; a service refuses to start on the errors.
"""

import re
from collections.abc import Iterator, Mapping, Set
from datetime import timedelta

import jsonschema_rs
from msgspec import Struct

from services.core.awaiting import LEVELS
from services.core.catalogue import Account, Catalogue, NotificationType, RouteLeg
from services.core.errors import Misconfigured
from services.core.events import Channel
from services.core.identifiers import TypeName
from services.core.ports import Capabilities
from services.core.quota import Per, Quota
from services.core.templates import REQUIRED_PARTS, TemplateName, Templates
from services.core.validation import compile_schema

__all__ = ["Problem", "check"]

_FILE = "lastword.toml"
#: a variable that a template asks about
_ASKED = re.compile(r"\b([A-Za-z_]\w*)\s*(?:\bis\s+(?:not\s+)?defined\b|\|\s*d(?:efault)?\b)")
#: of a quota's window, for it to be worth its name
_WORTH_USING = 0.9
#: from its claim to its settlement, a message is out for so long at a provider that is not slow
_OUT_S = 0.25
#: nearly everywhere by no more than this
_SET_BACK = timedelta(hours=1)
Schemas = Mapping[TypeName, object]
Sources = Mapping[TemplateName, str]


class Problem(Struct, frozen=True, order=True):
    """Something to be changed. ``where``: a file, and the field in it."""

    where: str
    detail: str
    #: a warning may be meant so; an error cannot work
    is_error: bool = True
    #: of the file, from 1, where that is known
    line: int | None = None

    @property
    def place(self) -> str:
        """``where`` with its line, as editors and terminals follow it."""
        file, sep, field = self.where.partition(": ")
        return self.where if self.line is None else f"{file}:{self.line}{sep}{field}"

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.place}: {self.detail}"


def check(
    catalogue: Catalogue,
    schemas: Schemas,
    sources: Sources,
    providers: Mapping[str, Capabilities] | None = None,
) -> list[Problem]:
    """Every problem; what depends on the vendors only where ``providers`` are given."""
    problems = [*_types(catalogue, schemas, sources), *_strays(catalogue, schemas, sources)]
    problems += [*_templates(catalogue, schemas, sources)]
    if providers is not None:
        problems += [*_accounts(catalogue, providers), *_legs(catalogue, providers)]
    return problems


def _types(catalogue: Catalogue, schemas: Schemas, sources: Sources) -> Iterator[Problem]:
    for type in catalogue.types.values():
        yield from _schema(type, schemas)
        yield from _waits(type)
        yield from _sleeps(type, catalogue.time_scale)
        for channel in sorted({leg.channel for leg in type.route}):
            yield from _parts(type.name, channel, sources)


def _schema(type: NotificationType, schemas: Schemas) -> Iterator[Problem]:
    where = f"types/{type.name}.schema.json"
    if type.name not in schemas:
        yield Problem(where, f"missing; type {type.name} needs a JSON Schema of its data")
        return
    try:
        compile_schema(schemas[type.name])
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        yield Problem(where, f"no valid JSON Schema: {str(error).splitlines()[0]}")


def _waits(type: NotificationType) -> Iterator[Problem]:
    """A leg that comes too late, or only where the legs before it refuse."""
    waited = 0
    for index, leg in enumerate(type.route[:-1]):
        where = f"{_FILE}: types.{type.name}.route[{index}]"
        waited += leg.within_ms
        if waited >= type.deadline_ms:
            yield Problem(where, "awaits its receipt beyond the deadline: the next leg has no time")
            return
        if leg.give_up_after_ms is None:
            other = " or without a receipt" if leg.within_ms else ""
            detail = f"without give_up_after, the next leg is tried only after a refusal{other}"
            yield Problem(where, detail, is_error=False)
            return
        waited += leg.give_up_after_ms
        if waited >= type.deadline_ms:
            yield _no_time(where, leg)
            return


def _sleeps(type: NotificationType, time_scale: float) -> Iterator[Problem]:
    """What is asked for at night and is over before the morning."""
    hours = type.quiet_hours
    if hours is None:
        return
    longest = hours.lasts + _SET_BACK
    if type.deadline_ms * time_scale < longest.total_seconds() * 1000:
        night = f"quiet hours last for {hours.lasts}, and {longest} when clocks are set back"
        detail = f"{night}: what is asked for in them may expire there"
        yield Problem(f"{_FILE}: types.{type.name}.deadline", detail, is_error=False)


def _no_time(where: str, leg: RouteLeg) -> Problem:
    """Of one that both gives up and awaits its receipt, either alone may leave enough."""
    if leg.within_ms:
        detail = "gives up and awaits its receipt to the deadline: that may leave the next no time"
        return Problem(where, detail, is_error=False)
    return Problem(where, "gives up no earlier than the deadline: the next leg has no time")


def _parts(type: TypeName, channel: Channel, sources: Sources) -> Iterator[Problem]:
    required = REQUIRED_PARTS[channel]
    locales = sorted({name.locale for name in sources if name[:2] == (type, channel)})
    if not locales:
        files = ", ".join(f"{channel}.en.{part}" for part in required)
        yield Problem(f"templates/{type}", f"no templates for {channel}: add {files}")
    for locale in locales:
        for part in required:
            name = TemplateName(type, channel, locale, part)
            if name not in sources:
                yield Problem(f"templates/{name}", "missing, so the locale cannot be used")


def _strays(catalogue: Catalogue, schemas: Schemas, sources: Sources) -> Iterator[Problem]:
    for type in schemas.keys() - catalogue.types.keys():
        yield _stray(f"types/{type}.schema.json")
    for type in {name.type for name in sources} - catalogue.types.keys():
        yield _stray(f"templates/{type}")


def _stray(where: str) -> Problem:
    return Problem(where, f"{_FILE} has no such type", is_error=False)


def _given(catalogue: Catalogue, schemas: Schemas, name: TypeName) -> object:
    """The schema of what the templates of a type are given."""
    type = catalogue.types.get(name)
    if type is None or type.digest is None:
        return schemas.get(name)
    return {"required": ["items", "count"], "properties": {"items": {}, "count": {}}}


def _templates(catalogue: Catalogue, schemas: Schemas, sources: Sources) -> Iterator[Problem]:
    for name, text in sources.items():
        try:
            used = Templates({name: text}).undeclared(name) - _guarded(text)
            yield from _variables(name, used, _given(catalogue, schemas, name.type))
        except Misconfigured as error:
            where, _, detail = str(error).partition(": ")
            yield Problem(where, detail)


def _variables(name: TemplateName, used: Set[str], schema: object) -> Iterator[Problem]:
    """What the template uses, against what the schema promises to be there."""
    if not isinstance(schema, dict):
        return
    promised, possible = set(schema.get("required", ())), set(schema.get("properties", ()))
    for variable in sorted(used - promised):
        told = "may be missing: require it, or ask `is defined`"
        detail = told if variable in possible else "is not in the type's schema"
        yield Problem(f"templates/{name}", f"{variable} {detail}", is_error=False)


def _guarded(text: str) -> set[str]:
    """The variables that the template itself asks about before it uses them."""
    return set(_ASKED.findall(text))


def _accounts(catalogue: Catalogue, providers: Mapping[str, Capabilities]) -> Iterator[Problem]:
    for account in catalogue.accounts.values():
        where = f"{_FILE}: accounts.{account.name}"
        capabilities = providers.get(account.provider)
        if capabilities is None:
            known = ", ".join(sorted(providers))
            yield Problem(f"{where}.provider", f"{account.provider!r} is not one of: {known}")
        else:
            yield from _account(where, account, capabilities)
        if account.quota is not None:
            yield from _quota(f"{where}.quota", account, account.quota)


def _account(where: str, account: Account, capabilities: Capabilities) -> Iterator[Problem]:
    most = capabilities.batch_max
    if account.batch > most:
        detail = f"{account.batch} is more than {account.provider} takes in one request: {most}"
        yield Problem(f"{where}.batch", detail)
    for setting in capabilities.settings:
        if not account.settings.get(setting):
            yield Problem(f"{where}.settings.{setting}", f"missing; {account.provider} needs it")
    known = (*capabilities.settings, *capabilities.optional_settings)
    for setting in sorted(account.settings.keys() - set(known)):
        detail = f"not one of {account.provider}'s settings: {', '.join(known) or 'none'}"
        yield Problem(f"{where}.settings.{setting}", detail)


def _quota(where: str, account: Account, quota: Quota) -> Iterator[Problem]:
    """What keeps an account from using what its provider allows."""
    if quota.usable < _WORTH_USING:
        detail = f"with so much jitter {quota.usable:.0%} of the shortest window can be used"
        yield Problem(f"{where}.jitter", detail, is_error=False)
    at_once, per_second = account.concurrency * account.batch, quota.limits.get(Per.SECOND, 0)
    if at_once < per_second * _OUT_S:
        detail = (
            f"{per_second} are reached only if each is out for less than"
            f" {1000 * at_once // per_second} ms: raise concurrency"
        )
        yield Problem(f"{where}.per_second", detail, is_error=False)


def _legs(catalogue: Catalogue, providers: Mapping[str, Capabilities]) -> Iterator[Problem]:
    for type in catalogue.types.values():
        for index, leg in enumerate(type.route):
            where = f"{_FILE}: types.{type.name}.route[{index}]"
            for name in leg.accounts:
                provider = catalogue.accounts[name].provider
                capabilities = providers.get(provider)
                if capabilities and leg.channel not in capabilities.channels:
                    can = ", ".join(capabilities.channels)
                    yield Problem(
                        where, f"{name} is {provider}, which does {can}, no {leg.channel}"
                    )
                elif capabilities and LEVELS[leg.success] > LEVELS[capabilities.reports]:
                    told = f"{name} is {provider}, which tells no more than {capabilities.reports}"
                    yield Problem(f"{where}.success", f"{told}: no receipt would ever be enough")
