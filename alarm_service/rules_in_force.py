"""The alarm rules in force: the rules saved last, or the rules of the settings if nobody has saved any."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

import ask.rules
from alarms import rules
from alarms.rules import Rule
from ask.answers import Data


@dataclass
class RulesInForce:
    """Reads the alarm rules in force: the rules saved last, or `configured` if nobody has saved any.

    `configured` contains the rules of the settings. In the demo, it contains the demo's rules, which the server sets
    when it has reached the database. If `defaults` is true, a limit that no rule sets gets its default value, if there
    is one.
    """

    configured: Sequence[Rule]
    defaults: bool

    def as_written(self, connection: sa.Connection) -> list[Data]:
        """Return the rules in force as data, in the format in which users write them."""
        saved = ask.rules.saved(connection)
        if saved is not None:
            return saved
        configured: list[Data] = msgspec.to_builtins(self.configured)
        return configured

    def read(self, connection: sa.Connection) -> list[Rule]:
        """Return the rules in force. Raise ValueError if the saved rules are invalid."""
        saved = ask.rules.saved(connection)
        return list(self.configured) if saved is None else rules.parse(saved)
