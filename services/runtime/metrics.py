"""Every Prometheus collector, declared once, with bounded labels: never an id, user or address."""

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "ACCOUNT_ATTEMPTS",
    "ACCOUNT_RATE",
    "ACCOUNT_RECEIPT_SECONDS",
    "ACCOUNT_REPLY_SECONDS",
    "ACCOUNT_SCORE",
    "ACCOUNT_STATE",
    "ATTEMPTS",
    "CATALOGUE",
    "CLAIMS_REFUSED",
    "CLOCKS_APART",
    "CLOSED",
    "DEAD_LETTERS",
    "JITTER",
    "JITTER_ALLOWED",
    "LAG",
    "LEDGER_SECONDS",
    "LOG_LEFT",
    "LOOKUPS",
    "MISPLACED",
    "PENDING",
    "RECEIPTS",
    "REMEMBERED",
    "REQUESTS",
    "ROUTED",
    "SEND_SECONDS",
    "TYPE_IN_TIME",
    "UNKNOWN",
    "WEBHOOKS_REFUSED",
]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter(
    "lastword_requests_total", "Requests over HTTP, by what was answered.", ["type", "answer"]
)
ROUTED = Counter("lastword_routed_total", "Requests routed, by proposal.", ["type", "proposal"])
DEAD_LETTERS = Counter(
    "lastword_dead_letters_total", "Records dead-lettered, by cause.", ["service", "cause"]
)
MISPLACED = Counter(
    "lastword_misplaced_total", "Records moved to the partition or lane they belong on.", ["what"]
)
PENDING = Gauge("lastword_pending", "Notifications held in dispatch, not yet closed.", ["lane"])
ATTEMPTS = Counter("lastword_attempts_total", "Attempts settled.", ["account", "outcome"])
CLOSED = Counter("lastword_closed_total", "Notifications closed, by reason.", ["reason"])
CLAIMS_REFUSED = Counter("lastword_claims_refused_total", "Claims the ledger refused.", ["why"])
UNKNOWN = Gauge("lastword_unknown", "Attempts whose outcome is not known yet.")
LOOKUPS = Counter("lastword_lookups_total", "Look-ups of unknown attempts.", ["account", "answer"])
CLOCKS_APART = Gauge(
    "lastword_clocks_apart_seconds",
    "By how much the broker's clock and the ledger's differ, at the least; above 1 sending stops.",
)
LEDGER_SECONDS = Histogram(
    "lastword_ledger_seconds", "Time of one ledger call.", ["call"], buckets=_SECONDS
)
SEND_SECONDS = Histogram(
    "lastword_send_seconds", "From the first byte to the reply.", ["account"], buckets=_SECONDS
)
ACCOUNT_STATE = Gauge(
    "lastword_account_state",
    "The circuit breaker of an account at this process: 0 closed, 1 half open, 2 open.",
    ["account"],
)
JITTER = Gauge(
    "lastword_jitter_seconds",
    "How far the deliveries of an account with a quota spread, measured at this process.",
    ["account"],
)
JITTER_ALLOWED = Gauge(
    "lastword_jitter_allowed_seconds", "What the account's quota allows for of it.", ["account"]
)
RECEIPTS = Counter("lastword_receipts_total", "Webhook events taken.", ["account", "kind"])
WEBHOOKS_REFUSED = Counter(
    "lastword_webhooks_refused_total", "Webhook calls not taken.", ["account", "cause"]
)
CATALOGUE = Gauge("lastword_catalogue", "1 for the version that is in use.", ["version"])
LAG = Gauge("lastword_consumer_lag", "Records not read yet.", ["group", "topic", "partition"])
LOG_LEFT = Gauge(
    "lastword_log_left_seconds",
    "Until the log may let go of something that the group has not read yet.",
    ["group", "topic"],
)
ACCOUNT_SCORE = Gauge(
    "lastword_account_score", "The share of its traffic that an account is good for.", ["account"]
)
_SLICE = ("account", "type", "group")
ACCOUNT_ATTEMPTS = Gauge(
    "lastword_account_attempts", "Attempts settled in the last five minutes.", _SLICE
)
ACCOUNT_RATE = Gauge(
    "lastword_account_rate",
    "Of the last five minutes: accepted of all; delivered and bounced of accepted; opened, clicked,"
    " complained and unsubscribed of delivered.",
    (*_SLICE, "rate"),
)
ACCOUNT_REPLY_SECONDS = Gauge(
    "lastword_account_reply_seconds", "How long replies took.", (*_SLICE, "quantile")
)
ACCOUNT_RECEIPT_SECONDS = Gauge(
    "lastword_account_receipt_seconds",
    "95 % of an hour's receipts took no longer.",
    ["account"],
)
TYPE_IN_TIME = Gauge(
    "lastword_type_in_time",
    "Of the verdicts of a window but for those that made it needless, the share sent in time.",
    ["type", "window"],
)
REMEMBERED = Gauge(
    "lastword_health_remembered", "Attempts and verdicts to which a fact may still be added."
)
