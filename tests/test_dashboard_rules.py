"""The dashboard's rules page saves exactly what the user enters and changes nothing else."""

import re
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import ScriptedSite, env, sensor

pytestmark = [in_browser, in_one_loop]

DELAY = re.compile(r"^\s*Delay")
HERE = {"store_house_id": "冷 1%"}


def kind(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name=name, exact=True)


async def save(page: Page, outcome: str = "Saved.") -> None:
    form = page.locator(".rules > form")
    await form.get_by_label("Your name").fill("Li")
    await form.get_by_role("button", name="Save").click()
    await expect(form).to_contain_text(outcome)


async def test_changing_a_rule_keeps_all_others(browser: Browser, site: ScriptedSite) -> None:
    site.name = "North"
    site.envs = [env(sensor_name="Rack")]
    site.sensors = [sensor()]
    other = {"scope": {"metric": "humidity"}, "high": 80}
    site.rules = [
        other,
        {
            "scope": {"sensor_id": 5, "store_house_id": "冷 1%", "metric": "temperature"},
            "low": {"limit": 2, "hysteresis": 0.5},
        },
    ]
    async with visit(browser, f"{site.storehouse_url}/rules") as page:
        await page.get_by_label("Rule for").select_option(index=2)
        low = kind(page, "Low")
        await expect(low.get_by_label("Limit")).to_have_value("2")
        await low.get_by_label("Limit").fill("1.5")
        await low.get_by_label(DELAY).fill("30")
        high = kind(page, "High")
        await high.get_by_label("Setting").select_option("off")
        await page.get_by_role("button", name="Preview").click()
        await expect(page.locator(".rules > form [role=status]")).to_have_text(
            "Last 30 days: 3 alarms, 40 with the current rules."
        )
        tried = site.asked_last("previewAlarms")["rules"]
        await save(page)
        await expect(low.get_by_label(DELAY)).to_have_value("30")
        saved = site.asked_last("saveRules")
        scope = HERE | {"sensor_id": 5, "metric": "temperature"}
        assert saved["by"] == "Li"
        assert saved["rules"] == tried
        assert saved["rules"] == [
            other,
            {"scope": scope, "low": {"limit": 1.5, "hysteresis": 0.5, "delay": 1800}, "high": None},
        ]


async def test_a_storehouse_rule_sets_profile_and_no_data_limit(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, f"{site.storehouse_url}/rules") as page:
        await page.get_by_label("Profile").select_option("Chilled: 0 to 5 °C")
        await kind(page, "No data").get_by_label("Setting").select_option("Custom")
        await kind(page, "No data").get_by_label("Severity").select_option("Critical")
        await save(page)
        await expect(page.get_by_label("Profile")).to_have_value("chilled")
        assert site.rules == [{"scope": HERE, "profile": "chilled", "no_data": {"severity": "critical"}}]
        await kind(page, "No data").get_by_label("Limit").fill("7.5")
        await page.get_by_label("Profile").select_option("None")
        await save(page)
        await expect(page.get_by_label("Profile")).to_have_value("")
        assert site.rules == [{"scope": HERE, "no_data": {"severity": "critical", "limit": 450}}]


async def test_every_field_of_limits_and_rates_can_be_edited(browser: Browser, site: ScriptedSite) -> None:
    site.rules = [{"scope": HERE | {"metric": "temperature"}, "high": {"limit": 8, "delay": "1h", "clear_delay": 30}}]
    async with visit(browser, f"{site.storehouse_url}/rules") as page:
        await page.get_by_label("Rule for").select_option("All sensors: Temperature")
        high, rate = kind(page, "High"), kind(page, "Rate of change")
        await high.locator("summary").click()
        await expect(high.get_by_label(DELAY)).to_have_value("60")
        await expect(high.get_by_label("Clear delay")).to_have_value("0.5")
        await high.get_by_label("Hysteresis").fill("0.3")
        await high.get_by_label("Reopen within").fill("20")
        await rate.get_by_label("Setting").select_option("Custom")
        await rate.get_by_label("Limit").fill("4")
        await rate.get_by_label("Time window").fill("15")
        await save(page)
        await expect(high.get_by_label("Hysteresis")).to_have_value("0.3")
        (saved,) = site.rules
        # Fields that the user did not edit keep their original spelling.
        assert saved["high"] == {"limit": 8, "delay": "1h", "clear_delay": 30, "hysteresis": 0.3, "reopen": 1200}
        assert saved["rate"] == {"limit": 4, "within": 900}


async def test_a_switch_rule_names_the_state_that_raises_it(browser: Browser, site: ScriptedSite) -> None:
    site.envs = [env(metric="door", unit="", value=0)]
    async with visit(browser, f"{site.storehouse_url}/rules") as page:
        await page.get_by_label("Rule for").select_option("All sensors: Door")
        await kind(page, "Alarm state").get_by_label("Setting").select_option("Custom")
        await kind(page, "Alarm state").get_by_label("Limit").select_option("Open")
        await kind(page, "Alarm state").get_by_label(DELAY).fill("5")
        await save(page)
        await expect(page.locator(".rules > form")).to_contain_text("Alarm state")
        await expect(kind(page, "Alarm state").get_by_label(DELAY)).to_have_value("5")
        assert site.rules == [{"scope": HERE | {"metric": "door"}, "switch": {"limit": 1, "delay": 300}}]


async def test_rules_saved_by_another_user_are_not_overwritten(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, f"{site.storehouse_url}/rules") as page:
        await page.get_by_label("Profile").select_option("frozen")
        site.revision += 1
        site.rules = [{"scope": HERE, "profile": "chilled"}]
        await save(page, "Someone else has saved changes")
        alert = page.locator(".rules > form .error")
        assert site.rules == [{"scope": HERE, "profile": "chilled"}]
        await expect(page.get_by_label("Profile")).to_have_value("frozen")
        await alert.get_by_role("button", name="Load the saved rules").click()
        await expect(page.get_by_label("Profile")).to_have_value("chilled")
        await expect(alert).to_be_empty()


async def test_maintenance_is_planned_in_the_storehouses_local_time(browser: Browser, site: ScriptedSite) -> None:
    site.envs = [env(sensor_name="Rack"), env(sensor_id=6, sensor_name="Rear")]
    elsewhere: dict[str, Any] = {"maintenance_id": 2, "store_house_id": "other", "sensor_id": None, "by": "X"}
    times = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-01T02:00:00Z"}
    site.maintenance = [elsewhere | times | {"reason": "of another"}]
    async with visit(browser, f"{site.storehouse_url}/rules", timezone_id="America/New_York") as page:
        section = page.locator(".maintenance")
        await section.locator("summary").click()
        await expect(section.get_by_label("Start")).to_have_value("2026-02-01T00:30")
        await section.get_by_label("Start").fill("2026-02-01T22:00")
        await section.get_by_label("End").fill("2026-02-02T01:30")
        await section.get_by_label("Applies to").select_option("Rear")
        await section.get_by_label("Reason").fill("defrosting")
        await section.get_by_label("Your name").fill("Li")
        await section.get_by_role("button", name="Save").click()
        await expect(section.locator("li")).to_have_count(1)
        await expect(section.locator("li")).to_contain_text("22:00:00 to 2 Feb 01:30:00")
        await expect(section.locator("li")).to_contain_text("Rear")
        assert site.asked_last("saveMaintenance") == HERE | {
            "sensor_id": 6,
            "start": "2026-02-01T14:00:00.000Z",
            "end": "2026-02-01T17:30:00.000Z",
            "reason": "defrosting",
            "by": "Li",
        }
        number = site.maintenance[-1]["maintenance_id"]
        await section.get_by_role("button", name="End now").click()
        await page.get_by_role("dialog").get_by_role("button", name="End now").click()
        await expect(section.locator("li")).to_contain_text("00:30:0")
        ended = site.asked_last("saveMaintenance")
        assert (ended["maintenance_id"], ended["reason"], ended["sensor_id"]) == (number, "defrosting", 6)
        assert ended["start"] < ended["end"] < "2026-01-31T16:31"
