"""The vendors that the sandbox speaks for, one file each, sans I/O."""

from collections.abc import Mapping

from services.sandbox.vendor import Vendor
from services.sandbox.vendors.mailgun import MailgunVendor
from services.sandbox.vendors.postmark import PostmarkVendor
from services.sandbox.vendors.twilio import TwilioVendor

__all__ = ["VENDORS"]

_ALL: tuple[Vendor, ...] = (PostmarkVendor(), MailgunVendor(), TwilioVendor())

#: by the provider's name
VENDORS: Mapping[str, Vendor] = {vendor.name: vendor for vendor in _ALL}
