"""Alarms on the dashboard: the list, the page of one alarm, and the actions of users."""

from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import NOW, ScriptedSite, alarm, alarms, curve, own_alarm, sensor
from tests.support.serving import Serve
from tests.support.sites import site as real_site

pytestmark = [in_browser, in_one_loop]


def texts(page: Page, part: str) -> Locator:
    return page.locator(f".alarm {part}")


async def test_an_alarm_is_raised_acknowledged_and_cleared_on_the_page(
    browser: Browser, serve: Serve, tmp_path: Path
) -> None:
    database = {"kind": "sqlite", "path": str(tmp_path / "site.db")}
    rules = [{"scope": {"metric": "temperature"}, "high": 8}]
    with real_site(database) as there:
        settings = {"database": database, "poll_interval": 0.1, "rules": rules}
        async with serve(settings) as server, visit(browser, server.url) as page:
            await page.goto(f"{server.url}#/storehouse/{there.ids['north']}")
            tile = page.locator(".tile", has_text="温度 1")
            await expect(tile.locator(".number")).to_have_text("4.5")
            there.add("temperature", 11.0, datetime.now(UTC))
            row = page.locator(".alarm", has_text="温度 1")
            await expect(row).to_contain_text("High: 11.0\u202f°C, limit 8.0\u202f°C")
            await expect(tile.locator(".marks")).to_have_text("Warning")
            await row.get_by_role("button", name="Acknowledge").click()
            await page.get_by_role("dialog").get_by_label("Your name").fill("李 Li")
            await page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
            await expect(row).to_contain_text("Active, acknowledged")
            there.add("temperature", 5.0, datetime.now(UTC))
            await expect(row).to_have_count(0)
            await expect(tile.locator(".marks")).to_have_text("Good")
            await page.get_by_role("link", name="Alarms").click()
            await expect(row).to_contain_text("Cleared")
            await expect(row).to_contain_text("High: 11.0")
            await row.locator(".name").click()
            await expect(page.locator(".timeline")).to_contain_text("Acknowledged by 李 Li")


async def test_pushed_alarms_join_the_alarms_of_the_last_day(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm()]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await expect(texts(page, ".what")).to_have_text(["High: 9.5 °C, limit 8.0 °C"])
        cleared = alarm(state="cleared", cleared="2026-01-31T16:30:00Z")
        newer = alarm(alarm_id=2, severity="warning", raised="2026-01-31T16:30:01Z")
        await site.push("alarms", alarms(cleared, newer))
        await expect(texts(page, ".alarm-state")).to_have_text(["Active", "Cleared"])
        await expect(page.locator("#alarms-summary")).to_have_text("1 open · 2 in total")
        await page.get_by_role("link", name="Tiles").click()
        await expect(page.locator(".tile .marks")).to_have_text("Warning")


async def test_a_dismissed_pending_alarm_leaves_the_list(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm(state="pending", transition="pending")]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await expect(texts(page, ".alarm-state")).to_have_text(["Pending"])
        await site.push("alarms", alarms(own_alarm(state="pending", transition="dismissed")))
        await expect(page.locator(".alarm")).to_have_count(0)
        await expect(page.locator("#alarms-summary")).to_have_text("No alarms.")


async def test_the_address_keeps_the_filters_of_the_list(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [
        alarm(alarm_id=1, sensor_name="A"),
        alarm(alarm_id=2, sensor_name="B", severity="warning"),
        alarm(alarm_id=3, sensor_name="C", state="cleared", cleared=NOW, sensor_id=6),
    ]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        names = texts(page, ".name")
        await expect(names).to_have_text(["A", "B", "C"])
        await page.get_by_label("State").select_option("cleared")
        await expect(names).to_have_text(["C"])
        await page.get_by_label("State").select_option("open")
        await page.get_by_label("Severity").select_option("warning")
        await expect(names).to_have_text(["B"])
        await page.reload()
        await expect(names).to_have_text(["B"])
        await page.get_by_label("Severity").select_option("")
        await page.get_by_label("State").select_option("")
        await page.get_by_label("Sensor").select_option(index=1)
        await expect(names).to_have_text(["A", "B"])


async def test_a_longer_time_range_queries_older_alarms(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await expect(page.locator("#alarms-summary")).to_have_text("No alarms.")
        site.alarms = [alarm(state="cleared", raised="2026-01-20T00:00:00Z", cleared="2026-01-20T01:00:00Z")]
        await page.get_by_label("Time").select_option("30")
        await expect(texts(page, ".when")).to_contain_text(["20 Jan"])
        minutes = [data["data_minute"] for event, data in site.asked if event == "queryAlarms"]
        assert minutes[0] == 24 * 60
        assert 30 * 24 * 60 <= minutes[-1] <= 30 * 24 * 60 + 2


async def test_an_acknowledgement_sends_a_comment_and_remembers_the_name(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm(), own_alarm(alarm_id="sw-4")]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        first = page.locator(".alarm").first
        await first.get_by_role("button", name="Acknowledge").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Comment").fill("门开着 <b>door</b>")
        await dialog.get_by_label("Your name").fill("李 Li")
        await dialog.get_by_role("button", name="Acknowledge").click()
        await expect(dialog).to_have_count(0)
        await expect(first.locator(".alarm-state")).to_have_text("Active, acknowledged")
        await expect(first.get_by_role("button", name="Acknowledge")).to_have_count(0)
        asked = {"alarm_id": "sw-3", "comment": "门开着 <b>door</b>", "by": "李 Li"}
        assert ("ackAlarm", asked) in site.asked
        await page.locator(".alarm").last.get_by_role("button", name="Acknowledge").click()
        await expect(page.get_by_role("dialog").get_by_label("Your name")).to_have_value("李 Li")


async def test_closing_an_alarm_needs_a_reason(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm()]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await page.get_by_role("button", name="Close").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Your name").fill("Li")
        await dialog.get_by_role("button", name="Close").click()
        await expect(dialog).to_be_visible()  # the browser asks for the reason
        await dialog.get_by_role("button", name="Sensor faulty").click()
        await dialog.get_by_role("button", name="Close").click()
        await expect(texts(page, ".alarm-state")).to_have_text(["Cleared"])
        assert ("closeAlarm", {"alarm_id": "sw-3", "reason": "Sensor faulty", "by": "Li"}) in site.asked


async def test_a_refused_action_shows_the_error_and_keeps_the_input(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm()]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await page.get_by_role("button", name="Acknowledge").click()
        site.unknown_events.add("ackAlarm")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Comment").fill("Seen")
        await dialog.get_by_label("Your name").fill("Li")
        await dialog.get_by_role("button", name="Acknowledge").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("The server does not support this request.")
        await expect(dialog.get_by_label("Comment")).to_have_value("Seen")


async def test_unsupported_actions_are_not_offered(browser: Browser) -> None:
    with ScriptedSite("ackAlarm", "closeAlarm", "queryRules", "queryEnvs").serving() as site:
        site.alarms = [own_alarm(), alarm()]
        async with visit(browser, f"{site.storehouse_url}/alarms") as page:
            await expect(page.locator(".alarm")).to_have_count(2)
            await expect(page.locator(".alarm button")).to_have_count(0)
            await expect(page.locator(".tabs a")).to_have_text(["Tiles", "Floor plan", "Table", "Alarms 2"])


async def test_an_unknown_severity_of_the_site_counts_as_warning(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm(severity="urgent")]
    async with visit(browser, site.storehouse_url) as page:
        await expect(page.locator(".alarm .state")).to_have_text("urgent")
        await expect(page.locator(".alarm")).to_have_attribute("data-severity", "warning")
        await expect(page.locator(".tile")).to_have_attribute("data-state", "warning")
        await expect(page.locator("#icon")).to_have_attribute("href", "/static/icons/warning.svg")


async def test_the_sites_own_alarms_have_no_buttons(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm(), own_alarm()]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await expect(page.locator(".alarm button")).to_have_count(2)
        await expect(page.locator(".alarm").filter(has=page.locator("button"))).to_have_count(1)


async def test_an_alarm_page_shows_curve_limits_facts_and_timeline(browser: Browser, site: ScriptedSite) -> None:
    done = {"acknowledged": True, "acknowledged_by": "李 Li", "acknowledged_at": "2026-01-31T16:40:00Z"}
    ended = {"state": "cleared", "transition": "cleared", "cleared": "2026-01-31T17:20:00Z", "comment": "Door shut"}
    site.alarms = [own_alarm(**done, **ended)]
    site.sensors = [sensor()]
    site.curves = [curve(["2026-01-31T16:20:00Z", 8.5, 10.1, 9, 4], ["2026-01-31T16:21:00Z", 8, 9, 8.5, 4])]
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await page.locator(".alarm .name").click()
        await expect(page.locator(".episode h2")).to_contain_text("High")
        facts = dict(
            zip(await page.locator("dt").all_inner_texts(), await page.locator("dd").all_inner_texts(), strict=True)
        )
        assert facts["Peak"] == "10.1\u202f°C"
        assert facts["Limit"] == "8.0\u202f°C"
        assert facts["Duration"] == "60 mins"
        await expect(page.locator(".limits li")).to_contain_text(["8.0 °C delay 9 mins"])
        await expect(page.locator(".timeline span")).to_have_text(
            ["First reading out of limits", "Raised: Critical", "Acknowledged by 李 Li", "Cleared"]
        )
        await expect(page.locator("blockquote")).to_have_text("Door shut")
        await expect(page.locator(".plot canvas")).to_be_visible()
        await page.reload()
        await expect(page.locator(".episode h2")).to_contain_text("High")


async def test_alarms_are_listed_under_their_cause(browser: Browser, site: ScriptedSite) -> None:
    whole = {"sensor_id": None, "sensor_name": None, "metric": None, "kind": "no_data", "value": None}
    site.alarms = [own_alarm(alarm_id="sw-1", **whole), own_alarm(alarm_id="sw-2", kind="no_data", cause="sw-1")]
    async with visit(browser, site.storehouse_url) as page:
        await expect(texts(page, ".name")).to_have_text(["Whole storehouse"])
        await texts(page, ".name").click()
        await expect(page.locator("h3", has_text="Alarms grouped under this one")).to_be_visible()
        await expect(texts(page, ".what")).to_have_text(["No data"])


async def test_a_wrong_clock_is_shown_with_its_difference(browser: Browser, site: ScriptedSite) -> None:
    everywhere = {"store_house_id": "*", "sensor_id": None, "sensor_name": None, "metric": None, "kind": "clock"}
    site.alarms = [own_alarm(**everywhere, value=-7500.0, peak=-7500.0, limit=60.0)]
    async with visit(browser, site.storehouse_url) as page:
        await expect(texts(page, ".what")).to_have_text(["Server clock differs from the others: 2 hrs"])


async def test_a_new_alarm_sounds_only_after_sound_is_on(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url) as page:
        await page.evaluate(
            """() => {
                window.tones = 0;
                const start = OscillatorNode.prototype.start;
                OscillatorNode.prototype.start = function (...when) { window.tones += 1; start.apply(this, when); };
            }"""
        )
        await expect(page.locator(".tile")).to_have_count(1)
        await site.push("alarms", alarms(own_alarm()))
        await expect(page.locator(".alarm")).to_have_count(1)
        assert await page.evaluate("window.tones") == 0
        await page.get_by_role("button", name="Sound").click()
        heard = await page.evaluate("window.tones")
        assert heard > 0
        await site.push("alarms", alarms(own_alarm(), own_alarm(alarm_id="sw-9")))
        await expect(page.locator(".alarm")).to_have_count(2)
        assert await page.evaluate("window.tones") == 2 * heard
