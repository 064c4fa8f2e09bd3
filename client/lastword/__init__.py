"""Tell users things through Lastword: the producers' library.

>>> from lastword import Lastword
>>> lastword = Lastword("http://127.0.0.1:8080")  # doctest: +SKIP
>>> lastword.send(  # doctest: +SKIP
...     user="u1",
...     type="password_reset",
...     to={"email": "u1@example.test"},
...     data={"link": "https://example.test/reset/1"},
... )

httpx and confluent-kafka are loaded only by the clients that use them.
"""

from lastword.async_client import AsyncLastword
from lastword.client import Lastword
from lastword.contract import Addresses, NotificationId, SupersessionKey
from lastword.errors import Fault, LastwordError, Misconfigured, NotKnown, Rejected, Unauthorised
from lastword.kafka_route import TypeSpec
from lastword.notification import Notification, Result, Sent

__all__ = [
    "Addresses",
    "AsyncLastword",
    "Fault",
    "Lastword",
    "LastwordError",
    "Misconfigured",
    "NotKnown",
    "Notification",
    "NotificationId",
    "Rejected",
    "Result",
    "Sent",
    "SupersessionKey",
    "TypeSpec",
    "Unauthorised",
]
