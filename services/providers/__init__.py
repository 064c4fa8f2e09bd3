"""The room of the vendors: one file each, sans I/O, which build requests and read what comes back.

Dispatch uses the requests and replies, the tracker the webhooks. ``README.md`` beside this file
says how to add one.
"""

from collections.abc import Mapping

from services.core.ports import Provider
from services.providers.mailgun import Mailgun
from services.providers.postmark import Postmark
from services.providers.twilio import Twilio

__all__ = ["PROVIDERS"]

_LISTED: tuple[Provider, ...] = (Postmark(), Mailgun(), Twilio())

#: every provider by its name in the catalogue; one listed here must pass the conformance suite
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _LISTED}
