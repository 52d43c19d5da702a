"""Bearer tokens (JWT), with which programs authenticate; whoever holds a key of the settings issues them."""

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
"""How far the issuer's clock may be ahead of ours, in seconds; it does not prolong a token."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies tokens, of one algorithm, whatever the token's own header says."""

    algorithm: str
    material: Any = field(repr=False, compare=False)
    issuer: str | None
    audience: str | None
    proof: str = field(repr=False)
    """Changes with anything of the key."""


class Claims(msgspec.Struct, frozen=True):
    """The claims of a token that we use."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    exp: float
    role: Role = "watch"
    organisations: list[int | str] | None = None
    storehouses: list[int | str] | None = None
    jti: Annotated[str, msgspec.Meta(max_length=255)] = ""


def build_key(settings: TokenKey) -> Key:
    """Return the key that the settings describe; raises ValueError if it is unusable."""
    content = settings.secret if settings.algorithm == "HS256" else settings.public_key
    algorithm = jwt.get_algorithm_by_name(settings.algorithm)
    try:
        material = algorithm.prepare_key(content)
    except (jwt.PyJWTError, ValueError, TypeError):
        wanted = "a secret" if settings.algorithm == "HS256" else "a public key in PEM"
        raise ValueError(f"{settings.algorithm} needs {wanted}, and this is none") from None
    if hasattr(material, "private_bytes"):
        raise ValueError(f"{settings.algorithm} needs the public key, and this is the private one, with which to sign")
    weakness = algorithm.check_key_length(material)
    if weakness:
        raise ValueError(f"{settings.algorithm}: {weakness}")
    description = msgspec.json.encode([settings.algorithm, content, settings.issuer, settings.audience])
    return Key(settings.algorithm, material, settings.issuer, settings.audience, sha256(description).hexdigest())


def verify_token(keys: Sequence[Key], token: str) -> User:
    """Return the user of this token, which may have expired; raises `AccessDenied` if none of `keys` has signed it."""
    problem = "none of our keys has signed it"
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                issuer=key.issuer,
                audience=key.audience,
                leeway=SKEW_S,
                # `Policy.revalidate` checks the expiry, now and again later, by the caller's clock.
                options={"require": ["exp", "sub"], "verify_exp": False, "verify_aud": key.audience is not None},
            )
            return _user(msgspec.convert(claims, Claims), key)
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            continue
        except jwt.DecodeError:
            problem = "it is no JWT"
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            problem = str(error)
    raise AccessDenied("unauthorized", f"this token does not count here: {problem}")


def _user(claims: Claims, key: Key) -> User:
    claims.sub.encode()  # raises ValueError if it is no text: JSON can hold half of a surrogate pair
    expires = datetime.fromtimestamp(claims.exp, UTC)
    visible = visibility_of(claims.organisations, claims.storehouses)
    return User(claims.sub, claims.role, visible, expires, "token", claims.jti, key.proof)
