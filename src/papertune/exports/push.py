"""Uploading an export to a repository of the Hugging Face hub."""

from pathlib import Path
from shlex import quote

from papertune.errors import OutputError


def check_repository(name: str) -> None:
    """Check the name of a repository without asking the hub.

    Raises:
        OutputError: If it is no name of one.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise OutputError(f'--push "{name}" is not the name of a repository: {error}') from None
    if "/" not in name:
        raise OutputError(f'--push "{name}" names no owner. Write it as owner/name.')


def push(folder: Path, name: str) -> None:
    """Upload a folder into a new, private repository.

    Args:
        folder: A finished export.
        name: owner/name.

    Raises:
        OutputError: If the repository exists, the token is missing or the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its client's; that has changed

    api = HfApi()
    try:
        api.create_repo(name, private=True, exist_ok=False)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Export of a papertune run")
    except (OSError, ValueError, HTTPError) as error:
        raise OutputError(_message(error, name, folder)) from error


def _message(error: Exception, name: str, folder: Path) -> str:
    """Return why an upload failed, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    target = name
    if status == 409:
        target, reason = "OWNER/OTHER", "the repository exists already, and stays as it is. Choose another name."
    elif status in (401, 403):
        reason = f"the hub refused the token (HTTP {status}). Log in with `hf auth login`, with a token that may write."
    else:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        reason = f"the hub could not be reached or refused the upload ({first.strip()})."
    # Without --private, a repository that `hf upload` makes is public.
    command = f"hf upload --private {target} {quote(str(folder))}"
    return f"{name}: {reason} {folder} is complete: `{command}` uploads it."
