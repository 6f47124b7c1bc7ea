"""One secret of this server: made at first use and kept, or set. Whatever it keys can be made and checked by nobody else.

It keys the pseudonyms in feedback and the links to proofs. Without it a pseudonym of an account, whose number anybody can look up or count
through, could be found again by hashing them all; so it never leaves the server, and no export holds it. Whoever replaces it makes all
links to proofs void, and people's later feedback cannot be told to be theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from bot import BotConfigurationError
from bot.private_file import finished_beside
from bot.settings import BotSettings

FILE = "server-secret"
"""Below ``data_dir``, mode 0600."""
_CHARACTERS = 64


def server_secret(settings: BotSettings) -> bytes:
    """The secret, made where there is none yet. Raises BotConfigurationError where it cannot be read, or was cut short."""
    if settings.server_secret is not None:
        return settings.server_secret.get_secret_value().encode()
    file = settings.data_dir / FILE
    try:
        if not file.exists():
            _make(file)
        found = file.read_bytes().strip()
    except OSError as error:
        why = f"{file} cannot be used ({error.strerror})"
        raise BotConfigurationError(f"{why}: give it to this user, or set LEDEX_BOT_SERVER_SECRET") from None
    if len(found) < _CHARACTERS:
        raise BotConfigurationError(f"{file} is cut short: put it back from a backup, or delete it to have a new secret made")
    return found


def keyed(settings: BotSettings, purpose: str, message: str) -> str:
    """HMAC-SHA256 in hexadecimal digits; what was made for one purpose is worth nothing for another."""
    return hmac.new(server_secret(settings), f"{purpose}\0{message}".encode(), hashlib.sha256).hexdigest()


def actor_hash(settings: BotSettings, installation_id: int | None, account_id: int) -> str:
    """Tells people apart within an installation, without naming them to anybody who lacks the secret."""
    return keyed(settings, "actor", f"{installation_id}:{account_id}")


def _make(file: Path) -> None:
    """Of several processes that start at once, all use the secret of the first; none ever reads half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(_CHARACTERS // 2) + "\n"
    with finished_beside(file, secret.encode("ascii")) as finished, contextlib.suppress(FileExistsError):
        os.link(finished, file)
