"""Visibility checks, which hide the storehouses, sensors and alarms that a user may not see.

`PushGuard` filters pushes. `AnswerGuard` checks the questions (events) of clients and filters the answers. Only this
module evaluates a `Visibility`. For a hidden object, the server runs the same database statements and sends the same
refusal as for an object that does not exist.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from access import rule_visibility
from access.connection import Request
from access.rule_visibility import RuleScope
from ask import Ask
from ask.answers import EVERYWHERE, Alarm, Id, Organisation, Rules, Storehouse
from ask.episodes import episode_id, no_alarm
from ask.organisations import no_organisation
from ask.sensors import Sensor
from ask.storehouses import no_storehouse
from ask.visibility import Visibility
from errors import Forbidden, Unavailable


class KnownStorehouses(Protocol):
    """The storehouses and sensors known to this process. `live.newest.Newest` implements this protocol."""

    def storehouse(self, store_house_id: Id) -> Storehouse | None:
        """Return a storehouse, or None if it is not known."""

    def storehouses(self) -> list[Storehouse]:
        """Return all storehouses."""

    def sensors(self, store_house_id: Id) -> Sequence[Sensor]:
        """Return the sensors of a storehouse."""


class PushGuard:
    """Decides who may receive a push. It uses only data in memory, because a push must not wait for a database."""

    def __init__(self, storehouses: KnownStorehouses) -> None:
        self._storehouses = storehouses

    def sees_storehouse(self, visibility: Visibility, store_house_id: Id) -> bool:
        """Return whether a user with this visibility sees data about a storehouse.

        The id `EVERYWHERE` means that the data is about all storehouses. Every user sees such data.
        """
        return visibility.everything or store_house_id == EVERYWHERE or self.may_watch(visibility, store_house_id)

    def may_watch(self, visibility: Visibility, store_house_id: Id) -> bool:
        """Return true if this process knows a storehouse and if a user with this visibility may see the storehouse."""
        storehouse = self._storehouses.storehouse(store_house_id)
        return storehouse is not None and visibility.includes_storehouse(storehouse)

    def sees_organisation(self, visibility: Visibility, org_id: Id, store_house_ids: Iterable[Id]) -> bool:
        """Return whether a user may see an organisation, wholly or partly.

        `store_house_ids` contains the ids of the organisation's storehouses.
        """
        return visibility.includes_organisation(org_id) or any(
            self.sees_storehouse(visibility, store_house_id) for store_house_id in store_house_ids
        )

    def visible_storehouses(self, visibility: Visibility, org_id: Id, store_house_ids: Iterable[Id]) -> list[Id]:
        """Return the ids of an organisation's storehouses that a user may see.

        `store_house_ids` contains the ids of all storehouses of the organisation.
        """
        if visibility.includes_organisation(org_id):
            return list(store_house_ids)
        return [
            store_house_id for store_house_id in store_house_ids if self.sees_storehouse(visibility, store_house_id)
        ]

    def rule_scope(self, visibility: Visibility) -> RuleScope | None:
        """Return the storehouses and sensors whose alarm rules a user may see.

        Return None if the user may see all rules.
        """
        if visibility.everything:
            return None
        visible = [
            storehouse.store_house_id
            for storehouse in self._storehouses.storehouses()
            if visibility.includes_storehouse(storehouse)
        ]
        sensors = [sensor for store_house_id in visible for sensor in self._storehouses.sensors(store_house_id)]
        return RuleScope(
            frozenset(map(str, visible)),
            frozenset(str(sensor.sensor_id) for sensor in sensors),
            frozenset(sensor.sensor_name for sensor in sensors),
        )


class AnswerGuard:
    """Checks each question of a client before the handler of the question runs, and filters the answer afterwards.

    Both steps are needed, because a storehouse may move to another organisation while the handler runs.
    `refresh_owners` updates in memory which organisation each storehouse belongs to.
    """

    def __init__(
        self,
        ask: Ask,
        push_guard: PushGuard,
        storehouses: KnownStorehouses,
        refresh_owners: Callable[[], Awaitable[None]],
    ) -> None:
        self._ask = ask
        self._push_guard = push_guard
        self._storehouses = storehouses
        self._refresh_owners = refresh_owners

    async def visible_storehouse(self, store_house_id: Id, visibility: Visibility) -> Storehouse:
        """Return a storehouse from the database. Raise `NotFound` if it does not exist or is hidden."""
        storehouse = await self._ask.storehouse(store_house_id)
        if not visibility.includes_storehouse(storehouse):
            raise no_storehouse(store_house_id)
        return storehouse

    async def watchable_storehouse(self, store_house_id: Id, visibility: Visibility) -> Storehouse:
        """Return a storehouse from the database, or from memory while the database does not answer.

        For a person in front of a cold store, the last known values, marked stale, are more useful than an error.

        Raise `NotFound` if the storehouse does not exist or is hidden. Raise `Unavailable` if the database does not
        answer and memory contains no visible storehouse with this id.
        """
        try:
            storehouse = await self.visible_storehouse(store_house_id, visibility)
            await self._refresh_owners()
        except Unavailable:
            last_known = self._storehouses.storehouse(store_house_id)
            if last_known is None or not visibility.includes_storehouse(last_known):
                raise
            return last_known
        return storehouse

    def check_watchable(self, store_house_id: Id, visibility: Visibility) -> None:
        """Raise `NotFound` if a storehouse has been deleted or hidden since `watchable_storehouse` returned it."""
        if not self._push_guard.may_watch(visibility, store_house_id):
            raise no_storehouse(store_house_id)

    async def refresh(self) -> None:
        """Update in memory which organisation each storehouse belongs to.

        Raise `Unavailable` if the database does not answer.
        """
        await self._refresh_owners()

    async def rule_scope(self, visibility: Visibility) -> RuleScope | None:
        """Return the storehouses and sensors whose alarm rules a user may see.

        Return None if the user may see all rules.

        Raise `Unavailable` if the database does not answer.
        """
        if visibility.everything:
            return None
        await self._refresh_owners()
        return self._push_guard.rule_scope(visibility)

    # The steps of `Guarded`, for each kind of event.

    async def admit_anything(self, request: Request) -> Request:
        """Accept a question that needs no check."""
        return request

    async def release_anything(self, _request: Request, answer: Any) -> Any:
        """Return the answer unchanged. It contains nothing hidden, or the event's handler has already filtered it."""
        return answer

    async def release_organisations(self, request: Request, answer: list[Organisation]) -> list[Organisation]:
        """Return the organisations of the answer that the user may see, wholly or partly."""
        visibility = request.caller.user.visibility
        if visibility.everything:
            return answer
        storehouses = await self._ask.all_storehouses() if visibility.storehouses else []
        visible = {each.org_id for each in storehouses if visibility.includes_storehouse(each)}
        return [each for each in answer if each.org_id in visible or visibility.includes_organisation(each.org_id)]

    async def release_storehouses(self, request: Request, answer: list[Storehouse]) -> list[Storehouse]:
        """Return the storehouses of the answer that the user may see.

        Raise `NotFound` if the user may see no part of the organisation that the question names.
        """
        visibility = request.caller.user.visibility
        visible = [each for each in answer if visibility.includes_storehouse(each)]
        if not visible:
            org_id = await self._ask.organisation(request.question.org_id)
            if not visibility.includes_organisation(org_id):
                raise no_organisation(request.question.org_id)
        return visible

    async def admit_storehouse(self, request: Request) -> Request:
        """Look up the storehouse that the question names, and return the request with this storehouse.

        Raise `NotFound` if the storehouse does not exist or is hidden.
        """
        visibility = request.caller.user.visibility
        return replace(
            request, named_storehouse=await self.visible_storehouse(request.question.store_house_id, visibility)
        )

    async def recheck_nothing(self, _request: Request) -> None:
        """Do nothing, because the question names nothing that could have been hidden while the handler ran."""

    async def recheck_storehouse(self, request: Request) -> None:
        """Raise `NotFound` if the storehouse was hidden while the handler ran."""
        visibility = request.caller.user.visibility
        if not visibility.everything:
            await self.visible_storehouse(request.storehouse.store_house_id, visibility)

    async def admit_rules(self, request: Request) -> Request:
        """Return the request. If its question names a storehouse, add the data of this storehouse to the request.

        Raise `NotFound` if the storehouse does not exist or is hidden.
        """
        return request if request.question.store_house_id is None else await self.admit_storehouse(request)

    async def release_rules(self, request: Request, answer: Rules) -> Rules:
        """Return the answer without the alarm rules, rule changes and maintenance periods that the user may not see."""
        scope = await self.rule_scope(request.caller.user.visibility)
        return answer if scope is None else rule_visibility.restricted(answer, scope)

    async def admit_alarm(self, request: Request) -> Request:
        """Check that Storewatch raised the alarm and that the user may act on the alarm.

        Raise `NotFound` if the alarm does not exist or is hidden. Raise `Forbidden` if the site's own alarm system
        raised the alarm. Also raise `Forbidden` if the alarm is about all storehouses and the user may see only some of
        them.
        """
        alarm_id, visibility = request.question.alarm_id, request.caller.user.visibility
        number = episode_id(alarm_id)
        if number is None:
            if await self._sees_site_alarm(alarm_id, visibility):
                raise Forbidden(
                    f"the alarm {alarm_id!r} belongs to the site's own alarm system; use that system",
                    "alarm_id",
                    reason="site_alarm",
                )
        elif visibility.everything:
            return request
        else:
            store_house_id = await self._ask.episode_storehouse(number)
            await self._refresh_owners()
            if store_house_id == EVERYWHERE:
                raise Forbidden(
                    "only users who see all storehouses may change an alarm about all of them",
                    "alarm_id",
                    reason="full_visibility_required",
                )
            if store_house_id is not None and self._push_guard.sees_storehouse(visibility, store_house_id):
                return request
        raise no_alarm(alarm_id)

    async def release_alarm(self, request: Request, answer: Alarm) -> Alarm:
        """Return the answer. Raise `NotFound` if the alarm's storehouse was hidden while the handler ran."""
        visibility = request.caller.user.visibility
        if not visibility.everything:
            await self._refresh_owners()
            if not self._push_guard.sees_storehouse(visibility, answer.store_house_id):
                raise no_alarm(answer.alarm_id)
        return answer

    async def _sees_site_alarm(self, alarm_id: Id, visibility: Visibility) -> bool:
        subject = await self._ask.site_alarm_subject(alarm_id)
        scope = await self.rule_scope(visibility)
        if scope is None or subject is None:
            return subject is not None
        store_house_id, sensor_id = subject
        return str(sensor_id) in scope.sensors if store_house_id is None else str(store_house_id) in scope.storehouses


@dataclass(frozen=True, slots=True)
class Guarded:
    """The visibility checks for one kind of event, as methods of `AnswerGuard`.

    `admit` runs before the handler of the event. `recheck` runs after the handler, even if the handler refused the
    question. `release` then filters the answer.
    """

    admit: Callable[[AnswerGuard, Request], Awaitable[Request]] = AnswerGuard.admit_anything
    recheck: Callable[[AnswerGuard, Request], Awaitable[None]] = AnswerGuard.recheck_nothing
    release: Callable[[AnswerGuard, Request, Any], Awaitable[Any]] = AnswerGuard.release_anything


# Each event in the event table (`server.EVENTS`) has one of these objects.
NOTHING_HIDDEN = Guarded()
ORGANISATIONS = Guarded(release=AnswerGuard.release_organisations)
STOREHOUSES = Guarded(release=AnswerGuard.release_storehouses)
STOREHOUSE = Guarded(admit=AnswerGuard.admit_storehouse, recheck=AnswerGuard.recheck_storehouse)
CHANGE_OF_STOREHOUSE = Guarded(admit=AnswerGuard.admit_storehouse)
"""For events that save data about a storehouse, such as maintenance.

The user gets the answer even if the storehouse was hidden while the data was saved.
"""
RULES = Guarded(admit=AnswerGuard.admit_rules, release=AnswerGuard.release_rules)
ALL_RULES = Guarded(release=AnswerGuard.release_rules)
ALARM = Guarded(admit=AnswerGuard.admit_alarm, release=AnswerGuard.release_alarm)
