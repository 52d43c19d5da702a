"""What a user is shown. `PushGuard` decides it for every push, `AnswerGuard` for every question and its answer.

Nothing else asks what a `Visibility` includes. What is hidden is refused with the same words, after the same database
statements, as what does not exist.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from access import rule_visibility
from access.connection import Request
from access.rule_visibility import RuleScope
from ask import Ask
from ask.answers import EVERYWHERE, Alarm, Id, Organisation, Rules, Storehouse
from ask.episodes import episode_id
from ask.organisations import no_organisation
from ask.sensors import Sensor
from ask.storehouses import no_storehouse
from ask.visibility import Visibility
from errors import Forbidden, NotFound, Unavailable


class KnownStorehouses(Protocol):
    """The storehouses and sensors that this process knows; see `live.newest.Newest`."""

    def storehouse(self, store_house_id: Id) -> Storehouse | None:
        """Return a storehouse; None where it is not known."""

    def storehouses(self) -> list[Storehouse]:
        """Return all storehouses."""

    def sensors(self, store_house_id: Id) -> Sequence[Sensor]:
        """Return the sensors of a storehouse."""


class PushGuard:
    """Decides by what this process knows, without a database: for pushes, which may not wait for one."""

    def __init__(self, storehouses: KnownStorehouses) -> None:
        self._storehouses = storehouses

    def sees_storehouse(self, visibility: Visibility, store_house_id: Id) -> bool:
        """Whether a storehouse is known and visible; what is about all storehouses, everybody sees."""
        return visibility.everything or store_house_id == EVERYWHERE or self.may_watch(visibility, store_house_id)

    def may_watch(self, visibility: Visibility, store_house_id: Id) -> bool:
        """Whether a storehouse exists, as far as is known, and is visible."""
        storehouse = self._storehouses.storehouse(store_house_id)
        return storehouse is not None and visibility.includes_storehouse(storehouse)

    def sees_organisation(self, visibility: Visibility, org_id: Id, store_house_ids: Iterable[Id]) -> bool:
        """Whether an organisation, or any of its storehouses, is visible."""
        return visibility.includes_organisation(org_id) or any(
            self.sees_storehouse(visibility, store_house_id) for store_house_id in store_house_ids
        )

    def visible_storehouses(self, visibility: Visibility, org_id: Id, store_house_ids: Iterable[Id]) -> list[Id]:
        """Return those of an organisation's storehouses that are visible."""
        if visibility.includes_organisation(org_id):
            return list(store_house_ids)
        return [
            store_house_id for store_house_id in store_house_ids if self.sees_storehouse(visibility, store_house_id)
        ]

    def rule_scope(self, visibility: Visibility) -> RuleScope | None:
        """Return what a user sees, for judging alarm rules by; None where nothing is hidden."""
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
    """Decides before a question is put, and again on its answer: a storehouse may have moved in between.

    `refresh_owners` brings what the process knows of storehouses and their organisations up to date.
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
        """Return a storehouse by the database; raises `NotFound`."""
        storehouse = await self._ask.storehouse(store_house_id)
        if not visibility.includes_storehouse(storehouse):
            raise no_storehouse(store_house_id)
        return storehouse

    async def watchable_storehouse(self, store_house_id: Id, visibility: Visibility) -> Storehouse:
        """Return a storehouse by the database or, while that does not answer, by what is known; raises `NotFound`.

        The last that is known, marked stale, is more use in front of a cold store than an error.
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
        """Raise `NotFound` where a storehouse has vanished, or was hidden, since it was looked up."""
        if not self._push_guard.may_watch(visibility, store_house_id):
            raise no_storehouse(store_house_id)

    async def refresh(self) -> None:
        """Bring up to date whose the storehouses are; raises `Unavailable`."""
        await self._refresh_owners()

    async def rule_scope(self, visibility: Visibility) -> RuleScope | None:
        """Return which rules a user may see and edit, None for all; raises `Unavailable`."""
        if visibility.everything:
            return None
        await self._refresh_owners()
        return self._push_guard.rule_scope(visibility)

    # What each kind of event needs before its question is put, and what happens to its answer.

    async def admit_anything(self, request: Request) -> Request:
        """Let a question pass that names nothing hidden."""
        return request

    async def release_anything(self, _request: Request, answer: Any) -> Any:
        """Let an answer pass that tells of nothing hidden, or that its handler has restricted."""
        return answer

    async def release_organisations(self, request: Request, answer: list[Organisation]) -> list[Organisation]:
        """Keep the organisations of which anything is visible."""
        visibility = request.caller.user.visibility
        if visibility.everything:
            return answer
        storehouses = await self._ask.all_storehouses() if visibility.storehouses else []
        visible = {each.org_id for each in storehouses if visibility.includes_storehouse(each)}
        return [each for each in answer if each.org_id in visible or visibility.includes_organisation(each.org_id)]

    async def release_storehouses(self, request: Request, answer: list[Storehouse]) -> list[Storehouse]:
        """Keep the storehouses that are visible; raises `NotFound` where nothing of the organisation is."""
        visibility = request.caller.user.visibility
        visible = [each for each in answer if visibility.includes_storehouse(each)]
        if not visible:
            org_id = await self._ask.organisation(request.question.org_id)
            if not visibility.includes_organisation(org_id):
                raise no_organisation(request.question.org_id)
        return visible

    async def admit_storehouse(self, request: Request) -> Request:
        """Look up the storehouse that the question names; raises `NotFound`."""
        visibility = request.caller.user.visibility
        return replace(
            request, named_storehouse=await self.visible_storehouse(request.question.store_house_id, visibility)
        )

    async def recheck_nothing(self, _request: Request) -> None:
        """Let a question pass that names nothing which may have been hidden meanwhile."""

    async def recheck_storehouse(self, request: Request) -> None:
        """Raise `NotFound` where the storehouse was hidden while its question was put."""
        visibility = request.caller.user.visibility
        if not visibility.everything:
            await self.visible_storehouse(request.storehouse.store_house_id, visibility)

    async def admit_rules(self, request: Request) -> Request:
        """Look up the storehouse if the question names one; raises `NotFound`."""
        return request if request.question.store_house_id is None else await self.admit_storehouse(request)

    async def release_rules(self, request: Request, answer: Rules) -> Rules:
        """Leave out the rules that are not visible, with their changes, and the maintenance."""
        scope = await self.rule_scope(request.caller.user.visibility)
        return answer if scope is None else rule_visibility.restricted(answer, scope)

    async def admit_alarm(self, request: Request) -> Request:
        """Check that an alarm is ours and that the caller may act on it; raises `NotFound`, `Forbidden`."""
        alarm_id, visibility = request.question.alarm_id, request.caller.user.visibility
        number = episode_id(alarm_id)
        if number is None:
            if await self._sees_site_alarm(alarm_id, visibility):
                raise Forbidden(f"the alarm {alarm_id!r} belongs to the site's own system; do it there", "alarm_id")
        elif visibility.everything:
            return request
        else:
            store_house_id = await self._ask.episode_storehouse(number)
            await self._refresh_owners()
            if store_house_id == EVERYWHERE:
                raise Forbidden("an alarm about all storehouses is for those who see all of them", "alarm_id")
            if store_house_id is not None and self._push_guard.sees_storehouse(visibility, store_house_id):
                return request
        raise _no_alarm(alarm_id)

    async def release_alarm(self, request: Request, answer: Alarm) -> Alarm:
        """Raise `NotFound` where the alarm's storehouse was hidden meanwhile."""
        visibility = request.caller.user.visibility
        if not visibility.everything:
            await self._refresh_owners()
            if not self._push_guard.sees_storehouse(visibility, answer.store_house_id):
                raise _no_alarm(answer.alarm_id)
        return answer

    async def _sees_site_alarm(self, alarm_id: Id, visibility: Visibility) -> bool:
        subject = await self._ask.site_alarm_subject(alarm_id)
        scope = await self.rule_scope(visibility)
        if scope is None or subject is None:
            return subject is not None
        store_house_id, sensor_id = subject
        return str(sensor_id) in scope.sensors if store_house_id is None else str(store_house_id) in scope.storehouses


def _no_alarm(alarm_id: Id) -> NotFound:
    return NotFound(f"there is no alarm {alarm_id!r}", "alarm_id")


@dataclass(frozen=True, slots=True)
class Guarded:
    """How the guard treats one kind of event.

    It calls `admit` before the handler, `recheck` after it, also where it refuses the question, and `release` with the
    answer.
    """

    admit: Callable[[AnswerGuard, Request], Awaitable[Request]] = AnswerGuard.admit_anything
    recheck: Callable[[AnswerGuard, Request], Awaitable[None]] = AnswerGuard.recheck_nothing
    release: Callable[[AnswerGuard, Request, Any], Awaitable[Any]] = AnswerGuard.release_anything


NOTHING_HIDDEN = Guarded()
ORGANISATIONS = Guarded(release=AnswerGuard.release_organisations)
STOREHOUSES = Guarded(release=AnswerGuard.release_storehouses)
STOREHOUSE = Guarded(admit=AnswerGuard.admit_storehouse, recheck=AnswerGuard.recheck_storehouse)
CHANGE_OF_STOREHOUSE = Guarded(admit=AnswerGuard.admit_storehouse)
"""What has been changed is told, wherever the storehouse has moved since."""
RULES = Guarded(admit=AnswerGuard.admit_rules, release=AnswerGuard.release_rules)
ALL_RULES = Guarded(release=AnswerGuard.release_rules)
ALARM = Guarded(admit=AnswerGuard.admit_alarm, release=AnswerGuard.release_alarm)
"""What an event's row in the event table says it is about."""
