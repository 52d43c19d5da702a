"""What the commands' arguments have in common."""

import argparse
from datetime import date
from zoneinfo import ZoneInfo

import instants


def zone(text: str) -> ZoneInfo:
    """Return the time zone of this name."""
    try:
        return instants.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def day(text: str) -> date:
    """Return the day that is written like 2021-09-06."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write one like 2021-09-06") from None
