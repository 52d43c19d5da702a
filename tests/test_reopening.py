"""An alarm that was acknowledged and cleared, and is reopened, reaches people like a new alarm."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Client, connected
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.sites import site
from tests.support.webhook import PATIENCE, webhook

RULES = [{"scope": {"metric": "temperature"}, "high": {"limit": 30, "severity": "warning"}}]


async def becomes(client: Client, *transitions: str) -> dict[str, Any]:
    """Wait for pushes with these transitions. Return the alarm after the last one."""
    for transition in transitions:
        (alarm,) = (await client.next("alarms"))["alarms"]
        assert alarm["transition"] == transition
    return dict(alarm)


@pytest.mark.slow
async def test_a_reopened_alarm_is_notified_and_needs_a_new_acknowledgement(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built, webhook() as hook:
        notify = {
            "language": "en",
            "tiers": [[{"name": "duty", "url": hook.url}]],
            "group_wait": "0.1s",
            "group_interval": "0.1s",
        }
        settings = {"database": where, "poll_interval": 0.1, "rules": RULES, "notify": notify}
        async with serve(settings) as server, connected("python", server.url) as client:

            async def is_told(start: str) -> None:
                await until(lambda: hook.messages, PATIENCE)
                assert [text.splitlines()[1].partition(":")[0] for text in hook.texts] == [start]
                hook.messages.clear()

            await client.call("register", {"store_house_id": built.ids["north"]})
            await client.call("overview")
            built.add("temperature", 41.0)
            raised = await becomes(client, "raised")
            await is_told("Alarm")
            question = {"alarm_id": raised["alarm_id"], "by": "Li", "comment": "seen"}
            assert (await client.call("ackAlarm", question))["ok"]
            built.add("temperature", 5.0)
            cleared = await becomes(client, "acknowledged", "cleared")
            assert (cleared["acknowledged"], cleared["acknowledged_by"]) == (True, "Li")
            await is_told("Alarm cleared")
            built.add("temperature", 42.0)
            reopened = await becomes(client, "reopened")
            assert reopened["alarm_id"] == raised["alarm_id"]
            assert not reopened["acknowledged"]
            assert reopened.keys().isdisjoint({"acknowledged_by", "comment"})
            await is_told("Alarm reopened")
            await until(lambda: open_alarms(client) == {"open": 1, "unacknowledged": 1, "worst": "warning"})
            question = {"store_house_id": built.ids["north"], "data_minute": 60}
            assert (await client.call("queryAlarms", question))["data"] == [reopened]


def open_alarms(client: Client) -> dict[str, Any]:
    """Return the counts of open alarms of the storehouse `north` in the newest overview."""
    (organisation, *_) = client.last("overview")["organisations"]
    return dict(organisation["storehouses"][0]["alarms"])
