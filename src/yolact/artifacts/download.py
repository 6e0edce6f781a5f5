"""Published weights on this machine: fetched once from the hub, checked, kept in the hub's cache.

The client of the hub gives addresses, sizes and checksums, and keeps the cache. Only the bytes are
fetched here, because its own download starts anew after an interruption.
"""

import re
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from yolact.artifacts.registry import HubFile, PublishedModel
from yolact.errors import CheckpointError
from yolact.files import sha256_of


def cached_weights(file: HubFile) -> Path | None:
    """Where a published file is on this machine, or None. Asks no network."""
    placed = _folder(file) / file.name
    if placed.is_file():
        return placed
    found = try_to_load_from_cache(file.repository, file.name)
    return Path(found) if isinstance(found, str) else None


def weights_url(file: HubFile) -> str:
    """The address of a published file; ``HF_ENDPOINT`` names another hub."""
    return hf_hub_url(file.repository, file.name)


def fetch_weights(model: PublishedModel, say: Callable[[str], None]) -> Path:
    """The file of a published model: from this machine, else from the hub.

    A transfer that broke off goes on where it was at the next call. Size and, where the hub names
    it, SHA-256 are checked before the file takes its place. ``HF_HUB_OFFLINE``, ``HF_HOME`` and
    ``HF_ENDPOINT`` are respected; no credentials and no telemetry are sent.

    Args:
        model: One of :data:`~yolact.artifacts.registry.PUBLISHED`.
        say: Told what is fetched, how large it is and from where, before the transfer starts.

    Raises:
        CheckpointError: If there are no published weights, or they can be neither found nor
            fetched; the message says what to fetch by hand and where to put it.
    """
    file = model.weights
    if file is None:
        raise CheckpointError(f"{model.name} has no weights to fetch: {model.remark}.")
    if (path := cached_weights(file)) is not None:
        return path
    constants.HF_HUB_DISABLE_TELEMETRY = True
    url = weights_url(file)
    try:
        remote = get_hf_file_metadata(url, token=False)
        size = "of unknown size" if remote.size is None else f"{remote.size / 1e6:.1f} MB"
        say(f"fetching {model.name}, {size}, from {url}")
        _fetch(url, remote, file)
        return Path(hf_hub_download(file.repository, file.name, token=False))
    except Exception as error:  # the HTTP client beneath has changed, and its errors with it
        raise CheckpointError(
            f"{model.name} is not on this machine and could not be fetched ({_reason(error)}): get "
            f"{url} by other means and put it at {_folder(file) / file.name}, "
            "or give the file in place of the name."
        ) from error


def _fetch(url: str, remote: HfFileMetadata, file: HubFile) -> None:
    """Bring the bytes to where the hub's client looks for them."""
    if not re.fullmatch(r"\w[\w.-]*", remote.etag or ""):  # it becomes a file's name
        raise CheckpointError("the hub names no usable checksum")
    blob = _folder(file) / "blobs" / str(remote.etag)
    partial = blob.with_name(f"{blob.name}.incomplete")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(blob.with_name(f"{blob.name}.lock")):
        if blob.exists():
            return
        if partial.exists() and remote.size is not None and partial.stat().st_size > remote.size:
            partial.unlink()
        with partial.open("ab") as target:
            http_get(
                url,
                target,
                resume_size=target.tell(),
                headers={"accept-encoding": "identity"},
                expected_size=remote.size,
                displayed_filename=file.name,
            )
        # The hub names large files by their SHA-256.
        if re.fullmatch("[0-9a-f]{64}", blob.name) and sha256_of(partial) != blob.name:
            partial.unlink()
            raise CheckpointError("what arrived is not the published file, by its SHA-256")
        partial.replace(blob)


def _folder(file: HubFile) -> Path:
    name = repo_folder_name(repo_id=file.repository, repo_type="model")
    return Path(constants.HF_HUB_CACHE) / name


def _reason(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"the hub answers {error.response.status_code}"
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
