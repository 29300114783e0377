"""Whether models can be downloaded, asked only if the user wants it."""

from dataclasses import dataclass
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

    host = urlsplit(ENDPOINT).hostname or ""  # without a user name and password, which the address may have
    try:
        with urlopen(Request(ENDPOINT, method="HEAD"), timeout=_PATIENCE_S):
            return Reached(host, "")
    except HTTPError:
        return Reached(host, "")  # it has answered
    except URLError as error:
        return Reached(host, str(getattr(error.reason, "strerror", None) or error.reason))
    except (OSError, ValueError) as error:
        return Reached(host, str(error) or type(error).__name__)
