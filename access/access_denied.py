"""The error for a client that may not connect or may not stay connected."""

from typing import Literal

from errors import StorewatchError

Reason = Literal["unauthorized", "expired", "revoked", "unavailable"]


class AccessDenied(StorewatchError):
    """Raised if a client may not connect or may not stay connected.

    The server sends `code` and `message` to the client.
    """

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(message)
        self.code = code
