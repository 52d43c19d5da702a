"""`python -m access token`: issues a token for a program, signed with a secret from the settings."""

import argparse
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt

import cli
import settings as settings_module
from access.user import ROLES
from common import clock
from errors import UsageError
from settings import TokenKey


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "token",
        help="issue a token for a program",
        description="Print a token (JWT) that is signed with the first HS256 secret of the settings. The token "
        "contains its id (jti), with which it can be revoked.",
    )
    cli.add_config(parser)
    parser.add_argument("name", help="name of the program, as shown in the audit trail")
    parser.add_argument("--role", choices=ROLES, default="watch", help="role of the program (%(default)s)")
    parser.add_argument("--organisation", metavar="ID", action="append", help="a visible organisation; repeatable")
    parser.add_argument("--storehouse", metavar="ID", action="append", help="a visible storehouse; repeatable")
    parser.add_argument(
        "--for", metavar="SPAN", dest="span", type=_span, default="1h", help="lifetime, such as 90d (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the token. Raise `UsageError` if the settings contain no secret that can sign a token."""
    key = _key(options.config)
    now = clock.now()
    claims = {
        "sub": options.name,
        "iat": int(now.timestamp()),
        "exp": int((now + options.span).timestamp()),
        "jti": uuid4().hex,
        "role": options.role,
        "organisations": options.organisation,
        "storehouses": options.storehouse,
        "iss": key.issuer,
        "aud": key.audience,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    print(jwt.encode(given, key.secret, key.algorithm))
    return 0


def _key(config: str | None) -> TokenKey:
    access = settings_module.load(config)[0].restricted
    for key in access.tokens if access else ():
        if key.algorithm == "HS256":
            return key
    raise UsageError("the settings have no HS256 secret under access.tokens; add one, as docs/access.md describes")


def _span(text: str) -> timedelta:
    try:
        return settings_module.duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
