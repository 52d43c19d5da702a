"""Bearer tokens (JWT) with which programs authenticate. The settings list the keys that verify them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

import jwt
import msgspec

from access.access_denied import AccessDenied
from access.user import Role, User, visibility_of
from settings import TokenKey

SKEW_S = 30.0
"""Number of seconds by which the clock of a token's issuer may be ahead of the server's clock.

It does not extend the lifetime of a token.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies tokens signed with `algorithm`. It rejects tokens whose header names another algorithm."""

    algorithm: str
    material: Any = field(repr=False, compare=False)
    issuer: str | None
    audience: str | None
    proof: str = field(repr=False)
    """Hash of the settings of this key. It changes whenever one of these settings changes."""


class Claims(msgspec.Struct, frozen=True):
    """The claims (fields) of a token that Storewatch uses."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    exp: float
    role: Role = "watch"
    organisations: list[int | str] | None = None
    storehouses: list[int | str] | None = None
    jti: Annotated[str, msgspec.Meta(max_length=255)] = ""


def build_key(settings: TokenKey) -> Key:
    """Return the key that the settings describe. Raise ValueError if it cannot be used."""
    content = settings.secret if settings.algorithm == "HS256" else settings.public_key
    algorithm = jwt.get_algorithm_by_name(settings.algorithm)
    try:
        material = algorithm.prepare_key(content)
    except (jwt.PyJWTError, ValueError, TypeError):
        wanted = "a secret" if settings.algorithm == "HS256" else "a public key in PEM"
        raise ValueError(f"{settings.algorithm} needs {wanted}, and the given text is not one") from None
    if hasattr(material, "private_bytes"):
        raise ValueError(f"{settings.algorithm} needs the public key, and this is the private key; replace it")
    weakness = algorithm.check_key_length(material)
    if weakness:
        raise ValueError(f"{settings.algorithm}: {weakness}")
    description = msgspec.json.encode([settings.algorithm, content, settings.issuer, settings.audience])
    return Key(settings.algorithm, material, settings.issuer, settings.audience, sha256(description).hexdigest())


def verify_token(keys: Sequence[Key], token: str) -> User:
    """Return the user of a token, even if the token has expired.

    Raise `AccessDenied` if no key in `keys` verifies the token.
    """
    problem = "it is not signed with a key from the settings"
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                issuer=key.issuer,
                audience=key.audience,
                leeway=SKEW_S,
                # `Policy.revalidate` checks the expiry, now and periodically, with the caller's clock.
                options={"require": ["exp", "sub"], "verify_exp": False, "verify_aud": key.audience is not None},
            )
            return _user(msgspec.convert(claims, Claims), key)
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            continue
        except jwt.DecodeError:
            problem = "it is not a JWT"
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            problem = str(error)
    raise AccessDenied("unauthorized", f"this token is invalid: {problem}")


def _user(claims: Claims, key: Key) -> User:
    claims.sub.encode()  # raises ValueError for half of a surrogate pair, which JSON can contain
    expires = datetime.fromtimestamp(claims.exp, UTC)
    visible = visibility_of(claims.organisations, claims.storehouses)
    return User(claims.sub, claims.role, visible, expires, "token", claims.jti, key.proof)
