"""Templates: what a notification says, by type, channel, locale and part.

A template is the catalogue's own; the data in it is anybody's. So rendering is sandboxed, HTML is
escaped, a value that is not there is an error, and the work that data can cause is bounded:
``range`` stops at 1,000, text cannot be multiplied or padded, and a part ends at 1 MB.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from services.core.errors import LastwordError, Misconfigured
from services.core.events import Channel
from services.core.identifiers import TypeName
from services.core.ports import Content

__all__ = [
    "DEFAULT_LOCALE",
    "REQUIRED_PARTS",
    "Part",
    "RenderError",
    "TemplateName",
    "Templates",
    "sandbox",
]

DEFAULT_LOCALE = "en"
_MAX_RANGE = 1_000
_MAX_PART = 1_000_000


class Part(StrEnum):
    """The parts of a message; each is the end of a template's file name."""

    SUBJECT = "subject.txt"
    HTML = "html"
    TEXT = "txt"


#: what a locale of a channel needs to be of use; an email may also have HTML
REQUIRED_PARTS: Mapping[Channel, tuple[Part, ...]] = {
    Channel.EMAIL: (Part.SUBJECT, Part.TEXT),
    Channel.SMS: (Part.TEXT,),
}


class TemplateName(NamedTuple):
    """One template; its file is ``templates/<type>/<channel>.<locale>.<part>``."""

    type: TypeName
    channel: Channel
    locale: str
    part: Part

    def __str__(self) -> str:
        return f"{self.type}/{self.channel}.{self.locale}.{self.part}"


class RenderError(LastwordError):
    """This notification cannot be written. ``pointer``: the JSON pointer of what to change."""

    def __init__(self, pointer: str, detail: str) -> None:
        """``detail`` names templates and fields, and never holds a value."""
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


_COSTLY_METHODS = frozenset(
    ("center", "expandtabs", "format", "format_map", "ljust", "rjust", "translate", "zfill")
)
_COSTLY_FILTERS = ("center", "format", "indent", "pprint", "slice", "batch", "random")


_ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Sandbox(SandboxedEnvironment):
    """Jinja's sandbox, and no way to make much out of little."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
        if operator == "**" or not all(isinstance(x, int | float) for x in (left, right)):
            raise SecurityError(f"{operator} is for numbers only, and ** is not for use")
        return left * right if operator == "*" else left % right  # type: ignore[operator]

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        padding = isinstance(obj, str) and attr in _COSTLY_METHODS
        return not padding and super().is_safe_attribute(obj, attr, value)


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _MAX_RANGE:
        raise SecurityError(f"a range has {_MAX_RANGE} numbers at the most")
    return numbers


def sandbox(*, html: bool) -> SandboxedEnvironment:
    """Where templates are compiled; it has no loader, so none can reach for another file."""
    environment = _Sandbox(
        undefined=StrictUndefined, autoescape=html, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals = {"range": _range}
    for name in _COSTLY_FILTERS:
        del environment.filters[name]
    return environment


_NAME = re.compile(r"'([A-Za-z_][A-Za-z0-9_]{0,63})' is undefined")
_MEMBER = re.compile(r"has no attribute '([A-Za-z_][A-Za-z0-9_]{0,63})'")
# C0 and C1 controls but tab and line feed; line and paragraph separators
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_BREAK = re.compile(r"[\t\n]")
# LRO and RLO, which let a text be read as another one than it is
_OVERRIDE = re.compile(r"[\u202d\u202e]")
#: browsers leave out what may not be in a scheme, and what stands before it
_SCRIPT = "|".join(r"[\t\n\r]*".join(word) for word in ("javascript", "vbscript", "data"))
_SCRIPT_LINK = re.compile(
    rf"\b(?:href|action|formaction)\s*=\s*[\"']?[\x00-\x20]*(?:{_SCRIPT})[\t\n\r]*:", re.IGNORECASE
)


class Templates:
    """All templates, each compiled once. Made from their texts by name."""

    def __init__(self, sources: Mapping[TemplateName, str]) -> None:
        self._texts = sandbox(html=False)
        self._html = sandbox(html=True)
        self._compiled = {name: self._compile(name, text) for name, text in sources.items()}
        self._locales: dict[tuple[str, Channel], list[str]] = {}
        for name in sorted(sources):
            locales = self._locales.setdefault((name.type, name.channel), [])
            if name.locale not in locales and _complete(name, sources):
                locales.append(name.locale)

    def _compile(self, name: TemplateName, text: str) -> Template:
        environment = self._html if name.part is Part.HTML else self._texts
        try:
            tree = environment.parse(text)
            if next(tree.find_all(_ELSEWHERE), None) is not None:
                raise Misconfigured(
                    f"templates/{name}: a template stands alone: no include, import"
                )
            return environment.from_string(tree)
        except TemplateSyntaxError as error:
            line = f"templates/{name}, line {error.lineno}"
            raise Misconfigured(f"{line}: {error.message}") from error
        except TemplateError as error:
            raise Misconfigured(f"templates/{name}: {error.message}") from error

    def render(
        self, type: TypeName, channel: Channel, locale: str | None, data: Mapping[str, object]
    ) -> Content:
        """A message of the type, in the nearest locale; raises ``RenderError``."""
        found = _nearest(locale, self._locales.get((type, channel), []))
        if found is None:
            raise RenderError("#/type", f"{type} has no templates for {channel}")
        parts = {
            part: self._render(name, data)
            for part in Part
            if (name := TemplateName(type, channel, found, part)) in self._compiled
        }
        text = parts[Part.TEXT]
        subject = parts.get(Part.SUBJECT)
        if not text.strip() or (subject is not None and not subject.strip()):
            raise RenderError("#/data", f"{type}/{channel}.{found}: nothing is left to be said")
        return Content(text=text, subject=subject, html=parts.get(Part.HTML))

    def _render(self, name: TemplateName, data: Mapping[str, object]) -> str:
        try:
            text = _bounded(name, self._compiled[name].generate(data))
        except UndefinedError as error:
            raise _missing(name, str(error)) from error
        except SecurityError as error:
            raise RenderError("#/data", f"templates/{name} asks for what is not allowed") from error
        except RenderError:
            raise
        except Exception as error:  # whatever a template does with a value that does not fit
            cause = type(error).__name__
            raise RenderError("#/data", f"templates/{name} does not fit: {cause}") from error
        return _clean(name, text)


def _complete(name: TemplateName, sources: Mapping[TemplateName, str]) -> bool:
    return all(name._replace(part=part) in sources for part in REQUIRED_PARTS[name.channel])


def _nearest(wanted: str | None, locales: list[str]) -> str | None:
    """``de-AT``, then ``de``, then the default, then whichever there is."""
    by_tag = {locale.lower(): locale for locale in locales}
    tag = (wanted or "").lower().replace("_", "-")
    while tag:
        if tag in by_tag:
            return by_tag[tag]
        tag = tag.rpartition("-")[0]
    return by_tag.get(DEFAULT_LOCALE, locales[0] if locales else None)


def _bounded(name: TemplateName, pieces: Iterable[str]) -> str:
    text: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _MAX_PART:
            raise RenderError("#/data", f"templates/{name} becomes longer than {_MAX_PART}")
        text.append(piece)
    return "".join(text)


def _missing(name: TemplateName, message: str) -> RenderError:
    whole, member = _NAME.search(message), _MEMBER.search(message)
    detail = f"templates/{name} needs a value that is not there"
    if whole:
        return RenderError(f"#/data/{whole[1]}", detail)
    return RenderError("#/data", f"{detail}: {member[1]}" if member else detail)


def _clean(name: TemplateName, text: str) -> str:
    """A part as it may be sent. A line break in a subject would be a header of its own."""
    if name.part is Part.HTML:
        if _SCRIPT_LINK.search(text):
            raise RenderError("#/data", f"templates/{name}: a link would run a script")
        return text
    text = text.replace("\r\n", "\n").strip()
    if name.part is Part.SUBJECT and _LINE_BREAK.search(text):
        raise RenderError("#/data", f"templates/{name}: a subject is one line")
    if name.part is Part.SUBJECT and _OVERRIDE.search(text):
        raise RenderError("#/data", f"templates/{name}: a subject is not read backwards")
    if _CONTROL.search(text):
        raise RenderError("#/data", f"templates/{name}: a control character would be sent")
    return text
