"""The token of a server, and the value of its cookie."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import OutputError

_SECRET = "secret"
_SECRET_BYTES = 32
# Of a token that somebody chooses.
MIN_TOKEN_CHARACTERS = 8


@dataclass(frozen=True)
class Keys:
    """What a request must know.

    Attributes:
        token: For the address that is printed, and for the API (`Authorization: Bearer`).
        session: The value of the cookie.
    """

    token: str
    session: str


def open_keys(root: Path, token: str | None) -> Keys:
    """Return the keys of a work folder.

    The cookie stays the same when the server is started again, so that an open page goes on; it changes with the token
    that somebody has chosen.

    Args:
        root: The work folder; it keeps a secret that only its owner can read.
        token: The token that the user has chosen; None: a new one.

    Raises:
        OutputError: If the secret cannot be read or written, or the token is too short.
    """
    if token is not None and (len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable()):
        raise OutputError(
            f"the token has less than {MIN_TOKEN_CHARACTERS} characters, or others than printable ASCII. Choose a "
            'longer one, such as the output of: python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    path = root / _SECRET
    try:
        if not path.exists() or path.stat().st_size != _SECRET_BYTES:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
        secret = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another folder.") from None
    session = hmac.new(secret, (token or "").encode(), hashlib.sha256).hexdigest()
    return Keys(token or secrets.token_urlsafe(24), session)
