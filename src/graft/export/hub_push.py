"""Publishing a hub folder by huggingface_hub, and nothing that graft did not make."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

from graft.errors import DownloadError, UsageError
from graft.export.hub_contents import check_hub_folder
from graft.models.hub_weights import unreachable

SIGN_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def push(
    folder: Path, repository: str, *, private: bool = False, warn: Callable[[str], None]
) -> str:
    """Upload a hub folder to the model repository NAME or OWNER/NAME, made if it is not there.

    The hub is HF_ENDPOINT's, the token the one that huggingface_hub finds (HF_TOKEN, or what
    `hf auth login` kept). `private` counts for a new repository only. `warn` gets what the hub
    says of the card. Returns the address of the commit.

    Raises UsageError for a folder that is no hub folder, a name that is none, and a token that the
    hub refuses; DownloadError for a hub that cannot be reached or breaks off.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    files = check_hub_folder(folder)
    # Its warnings would stand between the user and the one line that says what to do.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if reason := unreachable():
        raise DownloadError(
            f"the model hub at {ENDPOINT} cannot be reached ({reason}); nothing was uploaded"
        )
    api = HfApi(library_name="graft")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            name = api.create_repo(repository, private=private or None, exist_ok=True).repo_id
            done = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                allow_patterns=files,
                commit_message="Upload a classifier made by graft",
            )
    except HFValidationError as error:
        raise UsageError(f"{repository!r} is no name of a repository: {_line(error)}") from error
    except HfHubHTTPError as error:
        raise _refusal(error, repository) from error
    except ValueError as error:  # huggingface_hub's word for a card that the hub refuses
        raise UsageError(f"the hub refuses the folder: {_line(error)}") from error
    # What else breaks off has the types of whichever HTTP client the installed package uses.
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else None
        if cause:
            raise _refusal(cause, repository) from error
        raise DownloadError(
            f"the upload to {ENDPOINT} broke off ({_line(error)}); run the same command again: "
            "what is there already is not sent twice"
        ) from error
    for warning in told:
        if issubclass(warning.category, UserWarning):
            warn(_line(warning.message))
    return str(done.commit_url)


def _refusal(error: Exception, repository: str) -> UsageError | DownloadError:
    """What the hub's status means for whoever pushes."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    said = getattr(error, "server_message", None) or ""
    because = f" ({_line(said)})" if said else ""
    if status == 401:
        why = "the hub does not accept the token, or there is none"
    elif status == 403:
        why = f"the token may not write to {repository}"
    elif status == 404:
        why = f"the hub has no {repository} that this token may see"
    else:
        return DownloadError(
            f"the hub answered {status or type(error).__name__}{because} for {repository}; try "
            "again later: what is there already is not sent twice"
        )
    return UsageError(f"{why}{because}; {SIGN_IN}")


def _line(problem: object) -> str:
    """A problem in one line, without the token that a message might repeat."""
    from huggingface_hub import get_token

    text = " ".join(str(problem).split()) or type(problem).__name__
    token = get_token()
    return text.replace(token, "…") if token else text
