"""The alarm rules in force: those that people have saved last, or else those of the settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

import ask.rules
from alarms import rules
from alarms.rules import Rule
from ask.answers import Data


@dataclass(frozen=True)
class RulesInForce:
    """Reads the rules in force. `configured` are those of the settings; with `defaults` ours apply where none does."""

    configured: Sequence[Rule]
    defaults: bool

    def as_written(self, connection: sa.Connection) -> list[Data]:
        """Return the rules as people wrote them."""
        saved = ask.rules.saved(connection)
        if saved is not None:
            return saved
        configured: list[Data] = msgspec.to_builtins(self.configured)
        return configured

    def read(self, connection: sa.Connection) -> list[Rule]:
        """Return the rules; raises ValueError where saved ones cannot be used."""
        saved = ask.rules.saved(connection)
        return list(self.configured) if saved is None else rules.parse(saved)
