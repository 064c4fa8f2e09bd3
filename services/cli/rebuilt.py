"""What a rebuild has to say, for people."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from services.cli.output import console
from services.tracker.rebuild.report import Report, Topic

__all__ = ["print_report"]

_DAY_S = 86_400


def print_report(report: Report) -> None:
    """Tables, log, and the verdict last."""
    if report.made_anew:
        _say(f"made anew: {', '.join(f'tracker.{name}' for name in report.made_anew)}")
    if report.replaced:
        _say(f"replaced: {report.replaced:,} notifications")
    _print(
        ("table", "rows", "hash", "from the log", "hash from the log"),
        [
            (t.table, f"{t.live.rows:,}", t.live.hash, f"{t.from_log.rows:,}", t.from_log.hash)
            for t in report.tables
        ],
    )
    _print(("not made from the log", "because"), report.not_rebuilt.items())
    _print(
        ("from the log", "partitions", "gone", "folded", "first record", "kept for", "whole since"),
        [_topic_row(topic) for topic in report.topics],
    )
    _say(_compared(report))
    _verdict(report)


def _topic_row(topic: Topic) -> Sequence[str]:
    kept = "ever" if topic.kept_s is None else f"{topic.kept_s / _DAY_S:g} days"
    return (
        topic.topic,
        str(topic.partitions),
        f"{topic.gone:,}",
        f"{topic.folded:,}",
        _time(topic.first_at, "none"),
        kept,
        _time(topic.whole_since, "its beginning"),
    )


def _compared(report: Report) -> str:
    told = f"compared: {report.compared:,} notifications"
    if report.whole_since is None:
        return f"{told}, which is all of them: the log is whole from its beginning"
    since = _time(report.whole_since, "")
    return (
        f"{told}. Not compared: {report.left_out:,} of which something happened before {since} UTC,"
        " as the log is whole since then"
    )


def _verdict(report: Report) -> None:
    for line in report.cut_short:
        _say(line)
    if report.equal:
        console.print("[green]equal[/]")
        return
    console.print(f"[red]different[/]: {report.differing:,} notifications")
    _print(
        ("notification", "table", "what", "live", "from the log"),
        [(d.id, d.table, d.what, d.live, d.from_log) for d in report.differences],
    )


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    console.print()


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _time(at: datetime | None, none: str) -> str:
    return none if at is None else f"{at:%F %T}"
