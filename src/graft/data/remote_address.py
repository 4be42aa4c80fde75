"""Addresses of sources that lie elsewhere (s3://bucket/folder), and what of them may be shown.

A password or a signed query in an address is for the library that opens it alone: all that is
written or said uses `public_address`.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from graft.errors import UsageError

# By scheme: the package that opens it, and what fsspec calls it.
SCHEMES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}
LOCAL = ("file", "local")
WEB = ("http", "https")
# Where each library is told another server.
_ENDPOINTS = {
    "s3fs": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gcsfs": ("STORAGE_EMULATOR_HOST",),
    "huggingface_hub": ("HF_ENDPOINT",),
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_INSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+")
# A name and a colon before what is not a port: the beginning of "user:password@".
_PORT = r"(?::\d*)?(?:[/?#]|$)"
_PASSWORD = re.compile(rf"(?!\[[0-9A-Fa-f:.]+\]{_PORT})[^/?#@]*:(?!\d+(?:[/?#]|$)|$)")
_SECRET = re.compile(
    r"(?i)\b((?:x-amz-|x-goog-)[\w-]+|awsaccesskeyid|signature|sig|sv|token|accountkey|password"
    r"|access_token|aws_secret_access_key|authorization)(\s*[=:]\s*)[^\s&'\",]+"
)


def is_remote(source: str | Path) -> bool:
    """Whether a source is an address and not a path of this machine.

    Raises UsageError for an address of a kind that graft does not know.
    """
    scheme = scheme_of(source)
    if not scheme or scheme in LOCAL:
        return False
    if scheme not in SCHEMES:
        raise UsageError(
            f"{public_address(source)}: expected an address that begins with one of "
            f"{', '.join(f'{name}://' for name in SCHEMES if name != 'memory')}, or a path"
        )
    return True


def scheme_of(source: str | Path) -> str:
    """The scheme of an address in small letters; "" for a path."""
    found = _ADDRESS.match(source) if isinstance(source, str) else None
    return found[1].lower() if found else ""


def local_path(source: str | Path) -> Path:
    """The path of a source on this machine, also where it is written as file:///folder."""
    if scheme_of(source) not in LOCAL:
        return Path(source)
    parts = urlsplit(str(source))
    return Path(unquote(parts.netloc + parts.path))


def public_address(source: str | Path) -> str:
    """An address without user, password, query and fragment; a path as it is."""
    text = str(source)
    found = _ADDRESS.fullmatch(text)
    if not found or scheme_of(text) in LOCAL:
        return text
    scheme, rest = found[1], found[2]
    if _PASSWORD.match(rest):
        rest = rest.rpartition("@")[2] if "@" in rest else rest.partition(":")[0]
    rest = re.split(r"[?#]" if scheme.lower() in WEB else r"\?", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    # Azure's own form is container@account; there, it is no user.
    if scheme.lower() not in ("az", "abfs", "abfss"):
        host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}"


def scrubbed(text: str) -> str:
    """A message of a library without what may be secret in it: the first line, addresses as
    `public_address` has them, signatures and tokens left out.
    """
    line = (text.strip().splitlines() or [""])[0][:400]
    line = _INSIDE.sub(lambda found: public_address(found[0]), line)
    return _SECRET.sub(r"\1\2…", line)


def has_password(address: str) -> bool:
    """Whether an address holds "user:password@"."""
    found = _ADDRESS.fullmatch(address)
    return bool(found and _PASSWORD.match(found[2]) and "@" in found[2])


def endpoint(scheme: str) -> str:
    """The server that the environment names for such addresses, fit to be shown; "" if none."""
    names = _ENDPOINTS.get(SCHEMES.get(scheme, ""), ())
    return public_address(next(filter(None, map(os.environ.get, names)), ""))
