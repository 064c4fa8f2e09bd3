"""The mailbox: what was accepted, for people. Pure: entries in, pages out, all of it escaped."""

from collections.abc import Sequence
from html import escape

from services.sandbox.ledger import Entry

__all__ = ["PAGE_HEADERS", "message_page", "newest_page"]

#: no script runs on these pages, and nothing is fetched
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem }
tr { border-bottom: 1px solid #ddd }
pre { white-space: pre-wrap; background: #f6f6f6; padding: 1rem }
iframe { width: 100%; height: 30rem; border: 1px solid #ddd }
"""


def newest_page(entries: Sequence[Entry], total: int) -> str:
    """``entries``: the newest first."""
    rows = "".join(_row(entry) for entry in entries)
    head = "<tr><th>#<th>at<th>provider<th>to<th>subject<th>became</tr>"
    table = f"<table>{head}{rows}</table>" if entries else "<p>Nothing was accepted yet.</p>"
    return _page("Mailbox", f"<h1>Mailbox</h1><p>{total} accepted</p>{table}")


def message_page(entry: Entry) -> str:
    facts = {
        "provider": f"{entry.provider} / {entry.account}",
        "provider's id": entry.provider_ref,
        "from": entry.sender,
        "to": entry.to,
        "accepted": entry.received_at.isoformat(timespec="milliseconds"),
        "notification": f"{entry.notification_id or 'none'}, attempt {entry.attempt or 'none'}",
        "told to try for": "no deadline" if entry.deadline_s is None else f"{entry.deadline_s} s",
        "became": _history(entry),
    }
    rows = "".join(f"<tr><th>{escape(k)}<td>{escape(v)}</tr>" for k, v in facts.items())
    # sandbox="" : its own origin, no script, no form
    frame = f'<iframe sandbox="" srcdoc="{escape(entry.html)}"></iframe>' if entry.html else ""
    title = entry.subject or "Message"
    return _page(
        title,
        f'<p><a href="/">Mailbox</a></p><h1>{escape(title)}</h1><table>{rows}</table>'
        f"<pre>{escape(entry.text)}</pre>{frame}",
    )


def _row(entry: Entry) -> str:
    cells = (
        entry.received_at.strftime("%H:%M:%S.%f")[:-3],
        f"{entry.provider} / {entry.account}",
        entry.to,
        entry.subject or entry.text[:80],
        _history(entry),
    )
    link = f'<a href="/messages/{entry.seq}">{entry.seq}</a>'
    return f"<tr><td>{link}" + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"


def _history(entry: Entry) -> str:
    return ", ".join(event.what.value for event in entry.history) or "accepted"


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
