"""The error for a client that may not connect or may not stay connected."""

from typing import Literal

from errors import StorewatchError

Reason = Literal["unauthorized", "expired", "revoked", "unavailable"]


class AccessDenied(StorewatchError):
    """The client has no access. The server sends it `code` and `message`."""

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(message)
        self.code = code
