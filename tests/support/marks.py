"""Marks the tests that need services, so that `make quick` can leave them out."""

import pytest

from tests.support.services import private

SERVICE_FIXTURES = frozenset({"browser", "mariadb", "own_mariadb", "own_redis"})


TIMED_FAULTS = [pytest.mark.faults, pytest.mark.serial]
"""The marks of a test in `make faults` that checks times, and therefore needs the machine for itself."""


def mark_services(items: list[pytest.Item]) -> None:
    """Add the mark `services` to every test that gets MariaDB, Redis or the browser from a fixture.

    A test that starts a service itself must have the mark in its source code.
    """
    for item in items:
        if isinstance(item, pytest.Function) and _needs_service(item):
            item.add_marker("services")


def _needs_service(item: pytest.Function) -> bool:
    # Check the parameter of `each_database` too, because `each_database` requests `mariadb_database` only at run time.
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not SERVICE_FIXTURES.isdisjoint(item.fixturenames) or "mariadb" in parameters


def forbid_unmarked_services(config: pytest.Config) -> None:
    """Allow tests to start services only if the run includes the tests marked `services`.

    In other runs, a test that starts a service without the mark fails.
    """
    private.may_start = "not services" not in str(config.option.markexpr)
