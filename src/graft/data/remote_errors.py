"""What went wrong with a store elsewhere, as one line for people that holds no secret."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from graft.data.remote_address import SCHEMES, endpoint, scheme_of, scrubbed
from graft.errors import DownloadError, GraftError, UsageError

# How each library is given the right to read, in its own ways.
_CREDENTIALS = {
    "s3fs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the machine's role; for a "
    "public bucket FSSPEC_S3_ANON=true",
    "gcsfs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login or the "
    "machine's account",
    "adlfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or "
    "AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING",
    "huggingface_hub": "HF_TOKEN or hf auth login",
    "aiohttp": "https://user:password@server/… or the whole signed address",
}
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# By what the names and texts of the exceptions hold, in this order; of the libraries' own words.
_MISSING_BUCKET = r"NoSuchBucket|ContainerNotFound|bucket does not exist|RepositoryNotFound"
_NO_ACCESS = (
    r"NoCredentials|PartialCredentials|PermissionError|AccessDenied|Forbidden|Unauthorized"
    r"|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|TokenRefresh|GatedRepo"
    r"|DefaultCredentials|ClientAuthentication|AuthenticationFailed|ProfileNotFound"
    r"|account_name|account_key|connection_string|\b40[13]\b"
)
_NO_NAME = (
    r"gaierror|DNSError|Name or service not known|name resolution|nodename nor servname"
    r"|getaddrinfo|No address associated"
)
_NO_ANSWER = r"Timeout|timed out"
_NO_CONNECTION = (
    r"ConnectionRefused|Connect call failed|EndpointConnection|ClientConnector|ConnectError"
    r"|ServerDisconnected|ConnectionReset|Connection aborted|Connection refused|No route to host"
    r"|Network is unreachable|ConnectionClosed"
)
_NO_TRUST = r"SSL|[Cc]ertificate"
_NO_ENDPOINT = r"Invalid endpoint|InvalidURL|UnsupportedProtocol"


@contextmanager
def told(shown: str, missing: bool = True) -> Iterator[None]:
    """Errors of the libraries as one line about the address `shown`, which holds no secret.

    Raises UsageError where nothing is there, DownloadError for all else. What the libraries
    said is not kept as the cause: their messages may hold signed addresses. Without `missing` the
    FileNotFoundError of a file that is not there is the caller's.
    """
    try:
        yield
    except (GraftError, KeyboardInterrupt):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise  # of this machine, and not of the store
        if _is_missing(error) and not missing:
            raise
        raised = explained(error, shown)
    else:
        return
    raise raised from None


def explained(error: BaseException, shown: str) -> GraftError:
    """What an error of a library means, for the address `shown`."""
    scheme = scheme_of(shown)
    server = endpoint(scheme)
    at = f" at {server}" if server else ""
    text = _chain(error)
    if re.search(_MISSING_BUCKET, text):
        what = "repository" if scheme == "hf" else "bucket"
        return UsageError(f"{shown}: no such {what}{at}; see whether its name is right")
    if _is_missing(error):
        return not_there(shown)
    if re.search(_NO_NAME, text):
        return DownloadError(
            f"{shown}: the name of its server{at} cannot be resolved; see whether the address is "
            "right and whether there is a network"
        )
    if re.search(_NO_TRUST, text):
        return DownloadError(f"{shown}: the certificate of its server{at} is not trusted")
    if re.search(_NO_ACCESS, text):
        means = _CREDENTIALS.get(SCHEMES.get(scheme, ""), "the credentials of the store")
        return DownloadError(f"{shown}: no access{at}; it is given by {means}")
    if re.search(_NO_ANSWER, text):
        return no_answer(shown)
    if re.search(_NO_CONNECTION, text):
        return DownloadError(
            f"{shown}: no connection to its server{at}; see whether the address is right and "
            "whether the server runs"
        )
    if re.search(_NO_ENDPOINT, text):
        return UsageError(f"{shown}: the address of its server{at} is not one; mend it")
    why = scrubbed(str(error))
    return DownloadError(f"{shown}: {type(error).__name__}{f': {why}' if why else ''}")


def _is_missing(error: BaseException) -> bool:
    """Whether an error says that a file is not there. fsspec's web files say so of every failure,
    whose cause tells otherwise.
    """
    cause = error.__cause__ or error.__context__
    status = getattr(cause, "status", None)
    of_web = type(cause).__module__.startswith("aiohttp")
    return isinstance(error, FileNotFoundError | NotADirectoryError) and (
        status in (404, 410) if of_web else True
    )


def not_there(shown: str) -> UsageError:
    """That a store has nothing under an address."""
    return UsageError(f"{shown}: no such folder or file there")


def no_answer(shown: str) -> DownloadError:
    """That a store did not answer in time."""
    server = endpoint(scheme_of(shown))
    return DownloadError(
        f"{shown}: its server{f' at {server}' if server else ''} does not answer in time; see "
        "whether the address and the network are right, then run the same command again"
    )


def _chain(error: BaseException) -> str:
    """The names and texts of an error and of those that it came from."""
    found: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(found) < 12:
        found += [name.__name__ for name in type(seen).__mro__[:-3]] + [str(seen)[:1000]]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(found)
