"""Whether models can be downloaded, asked only if the user wants it."""

from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_PATIENCE_S = 5


@dataclass(frozen=True)
class Reached:
    """The answer of the hub of models.

    Attributes:
        host: Its name.
        reason: Why it cannot be reached; "" if it can.
    """

    host: str
    reason: str


def reach() -> Reached:
    """Ask the hub that transformers downloads from, or the one of HF_ENDPOINT, for its first page."""
    from huggingface_hub.constants import ENDPOINT

    address = "HF_ENDPOINT"
    try:
        # A user name and password, which the address may have, are neither shown nor sent.
        parts = urlsplit(ENDPOINT)
        address = parts.hostname or address
        asked = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        with urlopen(Request(asked, method="HEAD"), timeout=_PATIENCE_S):
            return Reached(address, "")
    except HTTPError:
        return Reached(address, "")  # it has answered
    except URLError as error:
        return Reached(address, str(getattr(error.reason, "strerror", None) or error.reason))
    except (OSError, ValueError, HTTPException) as error:
        return Reached(address, str(error) or type(error).__name__)
