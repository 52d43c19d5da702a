"""Why somebody is not let in, or may not stay."""

from typing import Literal

from errors import StorewatchError

Reason = Literal["unauthorized", "expired", "revoked", "unavailable"]


class AccessDenied(StorewatchError):
    """Nobody gets in with this; `code` and `message` are what the client is told."""

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(message)
        self.code = code
