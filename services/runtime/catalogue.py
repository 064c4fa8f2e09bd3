"""The catalogue's folder: ``lastword.toml``, ``types/`` and ``templates/``, read and checked.

``types/<type>.schema.json`` is the JSON Schema of a type's data; templates are
``templates/<type>/<channel>.<locale>.<part>``. Services refuse to start on a folder with an error
in it; ``lastword check`` names everything that is wrong at once.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Catalogue
from services.core.catalogue_file import parse_catalogue
from services.core.checking import Problem, check
from services.core.errors import Misconfigured
from services.core.events import Channel
from services.core.identifiers import TypeName
from services.core.ports import Capabilities
from services.core.templates import Part, TemplateName, Templates
from services.core.toml_lines import line_of
from services.core.validation import Rules

__all__ = ["CATALOGUE_FILE", "LoadedCatalogue", "check_catalogue", "load_catalogue"]

CATALOGUE_FILE = "lastword.toml"
_SCHEMA = ".schema.json"
_TABLES = ("accounts", "types", "categories", "quiet_hours")
_NAMING = "no template's name; write <type>/<channel>.<locale>.<part>, the parts: " + ", ".join(
    Part
)
_UNNAMED = re.compile(r"the catalogue: (?P<what>.*) - at `\$\.\w+\[\.\.\.\](?P<rest>.*)`", re.S)
_AT_LINE = re.compile(r"\(at line (?P<line>\d+), column \d+\)")
T = TypeVar("T")


class LoadedCatalogue(Struct, frozen=True, kw_only=True):
    """All of the folder, ready for use."""

    catalogue: Catalogue
    #: the JSON Schema of each type's data
    schemas: Mapping[TypeName, object]
    templates: Templates
    #: what ingest and the router both judge requests by
    rules: Rules
    #: the files of ``templates/`` as they are
    texts: Mapping[TemplateName, str]

    def alike(self, other: "LoadedCatalogue") -> frozenset[TypeName]:
        """The types of which both say the same, in every file."""
        both = self.catalogue.types.keys() & other.catalogue.types.keys()
        return frozenset(type for type in both if self._of(type) == other._of(type))

    def _of(self, name: TypeName) -> tuple[object, ...]:
        type = self.catalogue.types[name]
        accounts = [self.catalogue.accounts[a] for leg in type.route for a in leg.accounts]
        texts = {own: text for own, text in self.texts.items() if own.type == name}
        zone = self.catalogue.time_zone if type.quiet_hours else None
        return type, accounts, self.schemas.get(name), texts, zone


class _Folder(Struct, frozen=True):
    """What stands in the files, read but not yet judged."""

    #: of ``lastword.toml``
    text: str
    document: Mapping[str, object]
    schemas: Mapping[TypeName, object]
    sources: Mapping[TemplateName, str]


def load_catalogue(
    folder: Path, *, file: Path | None = None, time_scale: float = 1.0
) -> LoadedCatalogue:
    """The folder's catalogue; raises ``Misconfigured`` with all that is wrong, a line each.

    ``file`` counts instead of its ``lastword.toml``. The version is a digest of all the files and
    of ``time_scale``.
    """
    problems: list[Problem] = []
    own = file or folder / CATALOGUE_FILE
    read = _read(folder, own, problems)
    version = _version(folder, own, time_scale)
    catalogue = _parsed(own.name, read.document, version, time_scale, problems)
    if catalogue is not None:
        problems += check(catalogue, read.schemas, read.sources)
    errors = [str(p) for p in _with_lines(problems, own.name, read.text) if p.is_error]
    if errors or catalogue is None:
        raise Misconfigured("\n".join([f"{folder}: the catalogue cannot be used", *errors]))
    templates = Templates(read.sources)
    return LoadedCatalogue(
        catalogue=catalogue,
        schemas=read.schemas,
        templates=templates,
        rules=Rules(catalogue, read.schemas, templates),
        texts=read.sources,
    )


def check_catalogue(folder: Path, providers: Mapping[str, Capabilities]) -> list[Problem]:
    """All that is wrong with the folder, for ``lastword check``; ``providers`` by name."""
    problems: list[Problem] = []
    read = _read(folder, folder / CATALOGUE_FILE, problems)
    catalogue = _parsed(CATALOGUE_FILE, read.document, "check", 1.0, problems)
    if catalogue is not None:
        problems += check(catalogue, read.schemas, read.sources, providers)
    return _with_lines(problems, CATALOGUE_FILE, read.text)


def _read(folder: Path, file: Path, problems: list[Problem]) -> _Folder:
    whole, document = _attempt(file, file.parent, _toml, problems) or ("", {})
    schemas: dict[TypeName, object] = {}
    for path in sorted((folder / "types").glob(f"*{_SCHEMA}")):
        schema = _attempt(path, folder, json.loads, problems)
        if schema is not None:
            schemas[TypeName(path.name.removesuffix(_SCHEMA))] = schema
    sources: dict[TemplateName, str] = {}
    for path in sorted(p for p in (folder / "templates").rglob("*") if _is_template(p)):
        name = _template_name(path.relative_to(folder / "templates"))
        text = _attempt(path, folder, str, problems)
        if name is None:
            problems.append(Problem(path.relative_to(folder).as_posix(), _NAMING))
        elif text is not None:
            sources[name] = text
    return _Folder(whole, document, schemas, sources)


def _is_template(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and not path.name.endswith("~")


def _attempt(
    path: Path, folder: Path, parse: Callable[[str], T], problems: list[Problem]
) -> T | None:
    """A parsed file, or None and a problem that names it, and the line where there is one."""
    where = path.relative_to(folder).as_posix()
    try:
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        problems.append(Problem(where, f"there is no such file in {folder}"))
    except OSError as error:
        problems.append(Problem(where, f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        problems.append(Problem(where, "is not UTF-8"))
    except ValueError as error:
        problems.append(Problem(where, str(error)))
    return None


def _toml(text: str) -> tuple[str, Mapping[str, object]]:
    """Itself too: a fault is looked for in it."""
    return text, tomllib.loads(text)


def _template_name(path: Path) -> TemplateName | None:
    """``password_reset/email.de-AT.subject.txt``, taken apart; None where it is no such thing."""
    channel, _, rest = path.name.partition(".")
    locale, _, part = rest.partition(".")
    if len(path.parts) != 2 or channel not in list(Channel) or part not in list(Part):
        return None
    if not locale:
        return None
    return TemplateName(TypeName(path.parts[0]), Channel(channel), locale, Part(part))


def _parsed(
    file: str,
    document: Mapping[str, object],
    version: str,
    time_scale: float,
    problems: list[Problem],
) -> Catalogue | None:
    if any(problem.where == file for problem in problems):
        return None
    try:
        return parse_catalogue(document, version=version, time_scale=time_scale)
    except Misconfigured as error:
        each = _each_fault(document) or [str(error)]
        problems += [Problem(file, fault) for fault in each]
        return None


def _each_fault(document: Mapping[str, object]) -> list[str]:
    """The fault of every entry of every table, each looked at by itself."""
    tables = {name: document.get(name, {}) for name in _TABLES}
    entries = {name: table for name, table in tables.items() if isinstance(table, dict)}
    if entries.keys() != tables.keys():
        return []
    others = {
        "accounts": {name: {"provider": ""} for name in entries["accounts"]},
        "types": {},
        "categories": {name: {} for name in entries["categories"]},
        "quiet_hours": {name: {"from": "00:00", "to": "01:00"} for name in entries["quiet_hours"]},
    }
    faults = [
        _fault(table, name, {**others, table: {name: one}})
        for table, each in entries.items()
        for name, one in each.items()
    ]
    return [fault for fault in faults if fault]


def _fault(table: str, name: str, document: Mapping[str, object]) -> str | None:
    """What is wrong with this one of the table, under its path."""
    try:
        parse_catalogue(document, version="")
    except Misconfigured as error:
        # msgspec does not name the key of a mapping, and there is one only
        told = _UNNAMED.fullmatch(str(error))
        return f"{table}.{name}{told['rest']}: {told['what']}" if told else str(error)
    return None


def _with_lines(problems: Iterable[Problem], file: str, text: str) -> list[Problem]:
    """Each problem of the file with its line, where its path or its words tell."""
    return [
        replace(p, line=_line(p, text)) if p.where.partition(": ")[0] == file else p
        for p in problems
    ]


def _line(problem: Problem, text: str) -> int | None:
    path = problem.where.partition(": ")[2] or problem.detail.partition(": ")[0]
    if found := _AT_LINE.search(problem.detail):
        return int(found["line"])
    return line_of(text, path)


def _version(folder: Path, file: Path, time_scale: float) -> str:
    digest = sha256(repr(float(time_scale)).encode())
    paths = [file, *(folder / "types").rglob("*"), *_templates(folder)]
    for path in sorted(p for p in paths if p.is_file()):
        content = sha256(path.read_bytes()).hexdigest()
        name = CATALOGUE_FILE if path == file else path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()[:12]


def _templates(folder: Path) -> list[Path]:
    return [path for path in (folder / "templates").rglob("*") if _is_template(path)]
