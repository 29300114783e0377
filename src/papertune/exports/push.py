"""Uploading an export to a repository of the Hugging Face hub."""

from pathlib import Path

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
        raise OutputError(
            f"{name}: {_reason(error)} {folder} is complete: `hf upload {name} {folder}` uploads it."
        ) from error


def _reason(error: Exception) -> str:
    """Return why an upload failed, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 409:
        return "the repository exists already. Choose another name."
    if status in (401, 403):
        return f"the hub refused the token (HTTP {status}). Log in with `hf auth login`, with a token that may write."
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"the hub could not be reached or refused the upload ({first.strip()})."
