"""This server to be measured: its parts composed as `main.py` does, over questions whose answers are known already.

`python -m bench.storewatch_server PING_S [library] [patient]`: the seconds between two pings, 0 as the product has it;
with `library`, messages go python-socketio's own way, which is what stands in when its insides are not those we know;
with `patient`, a browser that takes nothing is not closed.
"""

import asyncio
import sys
from typing import Any, cast

import tornado.netutil
import tornado.web

import globals
import logger
import server
import transport
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.caller import Caller
from access.policy import OPEN
from alarm_service.actions import AlarmActions
from alarm_service.journal_follower import JournalFollower
from alarm_service.preview_pool import Previews
from app import gc_tuning
from ask import Ask
from ask.answers import Id, Organisation, Storehouse
from ask.visibility import Visibility
from bench import control, message
from db.database import Database
from live.directory import Directory
from live.overview_feed import Overview
from live.storehouse_feed import StorehouseFeed
from settings import Settings
from transport import fanout

FOREVER_S = 1e6
SETTINGS = Settings(host="127.0.0.1", access="open", rate_limit=1e9, rate_burst=10**9)


class Known:
    """Stands for `Ask`, without a database."""

    async def organisations(self, _visibility: Visibility) -> list[Organisation]:
        """Return the constant answer."""
        return message.ORGANISATIONS

    async def storehouse(self, store_house_id: Id, _visibility: Visibility) -> Storehouse:
        """Return one storehouse."""
        return message.STOREHOUSES[int(store_house_id) - 1]


async def serve(ping_s: int, library: bool, patient: bool) -> None:
    """Serve until stdin ends."""
    logger.configure(SETTINGS.log_level)
    server.PING_INTERVAL_S = ping_s or server.PING_INTERVAL_S
    newest = message.newest()
    ask = cast(Ask, Known())
    stuck_s = FOREVER_S if patient else SETTINGS.max_stuck
    manager = fanout.LibraryManager() if library else fanout.manager(SETTINGS.max_unsent, stuck_s)
    sio = server.socket_server(SETTINGS, manager)
    callers: dict[str, Caller] = {}
    storehouse_feed = StorehouseFeed(
        newest, manager.push, globals.clients, control.clock, lambda sid: callers[sid].user.visibility
    )
    directory = Directory(ask, newest, control.clock, storehouse_feed.change, lambda: False)
    journal = cast(JournalFollower, None)  # nobody brings a cursor along
    overview = Overview(ask, cast(Database, None), newest, manager.push, control.clock, lambda: False, directory.own)
    alarm_actions = cast(AlarmActions, None)  # nobody acts on an alarm
    previews = cast(Previews, None)  # nor tries rules
    parts = newest, storehouse_feed, directory, journal, alarm_actions, previews, overview
    authenticator = Authenticator(OPEN, control.clock)
    audit = cast(AuditWriter, None)  # nobody is refused
    browsers = server.Browsers(SETTINGS, ask, *parts, globals.clients, authenticator, callers, audit)
    sio.register_namespace(browsers)
    handler: Any = manager.handler(transport.get_tornado_handler(sio))
    application = tornado.web.Application([(r"/socket\.io/", handler)])
    sockets = tornado.netutil.bind_sockets(0, SETTINGS.host)
    transport.ConnectionDelegate(application, "/socket.io/", handler).server().add_sockets(sockets)
    sweep = asyncio.create_task(manager.sweep())

    async def push() -> None:
        await storehouse_feed.show(globals.clients.watched())

    gc_tuning.tame()
    control.say(port=sockets[0].getsockname()[1])
    await control.obey(control.pushing(push))
    sweep.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), "library" in sys.argv, "patient" in sys.argv))
