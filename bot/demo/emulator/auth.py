"""Who asks, and what they may: the App's JWT, installation tokens in both of GitHub's forms, permissions by token and repository."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.demo.emulator.answers import Needs, Refusal, missing
from bot.demo.emulator.state import Installation, Repository, State, Token

TOKEN_SECONDS = 3600
_JWT_SECONDS = 600  # GitHub refuses an App JWT whose exp lies further ahead
_CLOCK_SKEW = 60
_LEVELS = {"read": 1, "write": 2, "admin": 3}
_LETTERS = string.ascii_letters + string.digits


def new_key_pair() -> tuple[str, str]:
    """A fresh RSA key as PEM: (private, public)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    # PKCS#1, "BEGIN RSA PRIVATE KEY", is the form that GitHub hands out.
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@dataclass(frozen=True)
class Caller:
    """``name`` is what the request log says: anonymous, app, or installation:ID. Exactly one kind of credential."""

    name: str
    is_app: bool = False
    token: Token | None = None


def identify(state: State, headers: Mapping[str, str]) -> Caller:
    """The caller by its Authorization header (bearer, token or basic). Raises Refusal 401 for credentials that are wrong or expired."""
    header = headers.get("authorization", "")
    if not header:
        return Caller("anonymous")
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError as error:
            raise Refusal(401, "Bad credentials") from error
    token = state.tokens.get(value)
    if token is not None:
        if token.expires <= state.clock() or token.installation.suspended is not None:
            raise Refusal(401, "Bad credentials")
        return Caller(f"installation:{token.installation.id}", token=token)
    if scheme.lower() == "bearer" and value.count(".") == 2 and not value.startswith("ghs_"):
        check_app_jwt(state, value)
        return Caller("app", is_app=True)
    raise Refusal(401, "Bad credentials")


def check_app_jwt(state: State, value: str) -> None:
    """The checks that GitHub makes of an App's JWT. Raises Refusal 401 with GitHub's words."""
    try:
        # The times are checked below, against the emulator's own clock.
        claims = jwt.decode(value, state.app.public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False})
    except jwt.PyJWTError as error:
        raise Refusal(401, "A JSON web token could not be decoded") from error
    now, issued, expires = state.clock(), claims.get("iat"), claims.get("exp")
    if str(claims.get("iss")) != str(state.app.id):
        raise Refusal(401, "'Issuer' claim ('iss') must be an Integer")
    if not isinstance(issued, (int, float)) or issued > now + _CLOCK_SKEW:
        raise Refusal(401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
    if not isinstance(expires, (int, float)) or expires <= now:
        raise Refusal(
            401, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
        )
    if expires > now + _JWT_SECONDS + _CLOCK_SKEW:
        raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")


def mint(
    state: State, installation: Installation, repository_ids: frozenset[int] | None, permissions: Mapping[str, str] | None, long_form: bool
) -> Token:
    """A token narrowed to ``repository_ids`` and ``permissions`` (None: all), of either form.

    Raises Refusal 422 where it would hold more than the installation does.
    """
    wanted = frozenset(installation.repositories) if repository_ids is None else repository_ids
    if wanted - installation.repositories:
        raise Refusal(422, "There is at least one repository that does not exist or is not accessible to the parent installation.")
    granted = dict(installation.permissions)
    if permissions is not None:
        for name, level in permissions.items():
            if _LEVELS[level] > _LEVELS.get(granted.get(name, ""), 0):
                raise Refusal(422, "The permissions requested are not granted to this installation.")
        granted = {"metadata": "read", **permissions}
    expires = state.clock() + TOKEN_SECONDS
    token = Token(_value(state, expires, long_form), installation, wanted, granted, expires)
    state.tokens[token.value] = token
    return token


def _value(state: State, expires: float, long_form: bool) -> str:
    if long_form:
        key = secrets.token_hex(32)
        return f"ghs_{state.app.id}_" + jwt.encode({"exp": int(expires), "jti": secrets.token_hex(24)}, key, algorithm="HS256")
    return "ghs_" + "".join(secrets.choice(_LETTERS) for _ in range(36))


def require_repository(token: Token | None, repository: Repository | None, writes: bool) -> Repository:
    """The repository, if the token reaches it. Raises Refusal 404 as GitHub does: what you may not see does not exist."""
    if repository is None or token is None:
        raise missing()
    if repository.id in token.repositories or not repository.private and not writes:
        return repository
    raise missing()


def allows(token: Token, need: Needs) -> bool:
    permission, level = need
    return permission == "metadata" or _LEVELS.get(token.permissions.get(permission, ""), 0) >= _LEVELS[level]


def require(token: Token, need: Needs, also: Needs | None = None) -> None:
    """Raises Refusal 403 with the header that names what would have been accepted."""
    if not allows(token, need) and not (also and allows(token, also)):
        accepted = "; ".join("=".join(one) for one in (need, also) if one)
        raise Refusal(403, "Resource not accessible by integration", {"X-Accepted-GitHub-Permissions": accepted})
