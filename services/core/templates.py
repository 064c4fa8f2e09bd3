"""Templates: what a notification says, by type, channel, locale and part.

A template is the catalogue's own; the data in it is anybody's. So templates see nothing but data,
HTML is escaped, a value that is not there is an error, and the work that data can cause is bounded:
a template ends after 100,000 steps, text cannot be padded, and a part ends at 1 MB.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from minijinja import Environment, TemplateError

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
]

DEFAULT_LOCALE = "en"
_MAX_PART = 1_000_000
#: steps of a template
_FUEL = 100_000
#: escaped, though no context needs that, and programs that rewrite links may not expect it
_SLASH = "&#x2f;"


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


#: as it is compiled, and as it is told of
_Named: TypeAlias = tuple[str, TemplateName]


class RenderError(LastwordError):
    """This notification cannot be written. ``pointer``: the JSON pointer of what to change."""

    def __init__(self, pointer: str, detail: str) -> None:
        """``detail`` names templates and fields, and never holds a value."""
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


#: what is in the marks of a template, but for its strings
_CODE = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
_STRINGS = re.compile(r"'[^']*'|\"[^\"]*\"")
_FILTERS = re.compile(r"\|\s*([A-Za-z_]\w*)")
_TESTS = re.compile(r"\bis\s+(?:not\s+)?([A-Za-z_]\w*)")
#: they read another template
_ELSEWHERE = re.compile(r"\{%[-+]?\s*(include|import|from|extends)\b")
_WHOLE = re.compile(r"`([A-Za-z_][A-Za-z0-9_]{0,63})` is undefined")
_MEMBER = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]{0,63})` is undefined")
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
        self._compiled = _environment()
        #: of each locale, the names of what there is
        self._parts: dict[tuple[TypeName, Channel, str], list[_Named]] = defaultdict(list)
        for name, text in sources.items():
            self._compile(name, text)
            self._parts[name[:3]].append((str(name), name))
        #: of each, by its tag, those that are whole
        self._locales: dict[tuple[str, Channel], dict[str, str]] = {}
        for name in sorted(sources):
            locales = self._locales.setdefault((name.type, name.channel), {})
            if _complete(name, sources):
                locales[name.locale.lower()] = name.locale

    def _compile(self, name: TemplateName, text: str) -> None:
        if _ELSEWHERE.search(text):
            raise Misconfigured(f"templates/{name}: a template stands alone: no include, import")
        try:
            self._compiled.add_template(str(name), text)
        except TemplateError as error:
            where = f"templates/{name}, line {error.line}"
            raise Misconfigured(f"{where}: {error.detail or error.kind}") from error
        if strangers := [*_strangers(self._compiled, text)]:
            raise Misconfigured(f"templates/{name}: {'; '.join(strangers)}")

    def undeclared(self, name: TemplateName) -> frozenset[str]:
        """The variables of a template that it does not set itself."""
        return frozenset(self._compiled.undeclared_variables_in_template(str(name)))

    def render(
        self, type: TypeName, channel: Channel, locale: str | None, data: Mapping[str, object]
    ) -> Content:
        """A message of the type, in the nearest locale; raises ``RenderError``."""
        found = _nearest(locale, self._locales.get((type, channel), {}))
        if found is None:
            raise RenderError("#/type", f"{type} has no templates for {channel}")
        parts = {
            name.part: self._render(key, name, data)
            for key, name in self._parts[type, channel, found]
        }
        text = parts[Part.TEXT]
        subject = parts.get(Part.SUBJECT)
        if not text.strip() or (subject is not None and not subject.strip()):
            raise RenderError("#/data", f"{type}/{channel}.{found}: nothing is left to be said")
        return Content(text=text, subject=subject, html=parts.get(Part.HTML))

    def _render(self, key: str, name: TemplateName, data: Mapping[str, object]) -> str:
        try:
            text = self._compiled.render_template(key, **data)
        except TemplateError as error:
            raise _refused(name, error) from None  # it holds values of the data
        if len(text) > _MAX_PART:
            raise RenderError("#/data", f"templates/{name} becomes longer than {_MAX_PART}")
        return _clean(name, text)


def _environment() -> Environment:
    """It has no loader, and no way to make much out of little."""
    environment = Environment(
        undefined_behavior="strict",
        trim_blocks=True,
        lstrip_blocks=True,
        pycompat=False,
        auto_escape_callback=lambda name: name.endswith(Part.HTML),
    )
    environment.fuel = _FUEL
    environment.remove_filter("format")
    return environment


def _complete(name: TemplateName, sources: Mapping[TemplateName, str]) -> bool:
    return all(name._replace(part=part) in sources for part in REQUIRED_PARTS[name.channel])


def _nearest(wanted: str | None, by_tag: Mapping[str, str]) -> str | None:
    """``de-AT``, then ``de``, then the default, then whichever there is."""
    tag = (wanted or "").lower().replace("_", "-")
    while tag:
        if tag in by_tag:
            return by_tag[tag]
        tag = tag.rpartition("-")[0]
    return by_tag.get(DEFAULT_LOCALE) or next(iter(by_tag.values()), None)


def _strangers(environment: Environment, text: str) -> Iterator[str]:
    """Filters and tests that there are not: by themselves they would fail at the first use."""
    code = _STRINGS.sub("''", " ".join(_CODE.findall(text)))
    for kind, names in (("filter", _FILTERS), ("test", _TESTS)):
        for name in sorted(set(names.findall(code))):
            try:
                environment.eval_expr(f"'' {'|' if kind == 'filter' else 'is'} {name}")
            except TemplateError as error:
                if error.kind in ("UnknownFilter", "UnknownTest"):
                    yield f"there is no {kind} {name}"


def _refused(name: TemplateName, error: TemplateError) -> RenderError:
    """In words that hold none of the data's values."""
    told = error.detail or ""
    whole, member = _WHOLE.match(told), _MEMBER.search(told)
    detail = f"templates/{name} needs a value that is not there"
    if whole:
        return RenderError(f"#/data/{whole[1]}", detail)
    if error.kind == "UndefinedError":
        return RenderError("#/data", f"{detail}: {member[1]}" if member else detail)
    return RenderError("#/data", f"templates/{name} does not fit: {error.kind}")


def _names_a_script(text: str) -> bool:
    """Quickly, and perhaps where there is no link."""
    bare = text.replace("\t", "").replace("\n", "").replace("\r", "").lower()
    return "script:" in bare or "data:" in bare


def _clean(name: TemplateName, text: str) -> str:
    """A part as it may be sent. A line break in a subject would be a header of its own."""
    if name.part is Part.HTML:
        text = text.replace(_SLASH, "/")
        if _names_a_script(text) and _SCRIPT_LINK.search(text):
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
