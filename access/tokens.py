"""Bearer tokens (JWT): what a program shows, issued by whoever has the key."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

import jwt
import msgspec

from access.access_denied import AccessDenied
from access.user import Role, User, visibility
from settings import TokenKey

SKEW_S = 30.0
"""How far the clock of who issues tokens may be ahead of ours; it adds nothing to their end."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key by which tokens are believed, of one algorithm, whatever a token says of itself."""

    algorithm: str
    material: Any = field(repr=False, compare=False)
    issuer: str | None
    audience: str | None
    proof: str = field(repr=False)
    """It changes when anything of the key does."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says, as far as we want to know."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    exp: float
    role: Role = "watch"
    organisations: list[int | str] | None = None
    storehouses: list[int | str] | None = None
    jti: Annotated[str, msgspec.Meta(max_length=255)] = ""


def key(settings: TokenKey) -> Key:
    """Return the key that the settings describe; raises ValueError where it is not fit."""
    content = settings.secret if settings.algorithm == "HS256" else settings.public_key
    algorithm = jwt.get_algorithm_by_name(settings.algorithm)
    try:
        material = algorithm.prepare_key(content)
    except (jwt.PyJWTError, ValueError, TypeError):
        wanted = "a secret" if settings.algorithm == "HS256" else "a public key in PEM"
        raise ValueError(f"{settings.algorithm} needs {wanted}, and this is none") from None
    if hasattr(material, "private_bytes"):
        raise ValueError(f"{settings.algorithm} needs the public key, and this is the private one, with which to sign")
    weak = algorithm.check_key_length(material)
    if weak:
        raise ValueError(f"{settings.algorithm}: {weak}")
    said = msgspec.json.encode([settings.algorithm, content, settings.issuer, settings.audience])
    return Key(settings.algorithm, material, settings.issuer, settings.audience, sha256(said).hexdigest())


def read(keys: Sequence[Key], text: str) -> User:
    """Return who shows this token, which may have ended; raises `Refused` where no key of ours has signed it."""
    problem = "none of our keys has signed it"
    for one in keys:
        try:
            said = jwt.decode(
                text,
                one.material,
                algorithms=[one.algorithm],
                issuer=one.issuer,
                audience=one.audience,
                leeway=SKEW_S,
                # The end is looked at by who knows what time it is, at each look.
                options={"require": ["exp", "sub"], "verify_exp": False, "verify_aud": one.audience is not None},
            )
            return _user(msgspec.convert(said, Claims), one)
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            continue
        except jwt.DecodeError:
            problem = "it is no JWT"
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            problem = str(error)
    raise AccessDenied("unauthorized", f"this token does not count here: {problem}")


def _user(claims: Claims, by: Key) -> User:
    claims.sub.encode()  # raises ValueError where it is no text: half a character, as JSON can have it
    expires = datetime.fromtimestamp(claims.exp, UTC)
    seen = visibility(claims.organisations, claims.storehouses)
    return User(claims.sub, claims.role, seen, expires, "token", claims.jti, by.proof)
