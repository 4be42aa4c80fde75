"""A store elsewhere, opened by fsspec: what it holds, and its files one by one."""

import base64
import html
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from graft.data.file_listing import is_hidden, is_image_name, is_unread_picture, walk_order
from graft.data.remote_address import SCHEMES, WEB, has_password, public_address, scheme_of
from graft.data.remote_errors import no_answer, not_there, told
from graft.errors import ModelError, UsageError

T = TypeVar("T")
# Requests under way at one time.
PARALLEL = 16
# Seconds: until a server takes a connection, of silence, and until the first answer to anything.
CONNECT, SILENCE, FIRST_ANSWER = 5, 15, 20
# What tells that a file's bytes are others than before, as the stores' listings call it.
_VERSIONS = ("ETag", "etag", "e_tag", "generation", "md5Hash", "blob_id", "xet_hash", "Digest")
# They log addresses, with what is secret in them, and failures that are told here in one line.
_LOGGERS = (
    *("fsspec", "s3fs", "gcsfs", "adlfs", "aiobotocore", "botocore", "aiohttp", "azure", "google"),
    *("huggingface_hub", "httpx"),
)
_TIMES = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a store: its name below the source, and what the store calls it.

    `size` in bytes and `version`, which changes with the bytes, are None and "" where the store's
    listing does not say. `checksum` is ("md5" or "sha256", hex digits) where it does.
    """

    name: str
    path: str
    size: int | None = None
    version: str = ""
    checksum: tuple[str, str] | None = None


class Store:
    """The folder or file at an address. Any thread may use it.

    Raises ModelError for a package that is not installed, UsageError for an address that cannot be
    one; no network is asked yet.
    """

    def __init__(self, address: str):
        self.scheme = scheme_of(address)
        self.shown = public_address(address).rstrip("/")
        self.web = self.scheme in WEB
        if not self.web and (has_password(address) or address.count("?")):
            raise UsageError(
                f"{self.shown}: the address holds a password or a query, which {self.scheme}:// "
                "does not take; give them by the environment, as docs/sources.md says"
            )
        self.fs, self.root = in_time(self.shown, lambda: _opened(self.scheme, address))
        self.root = self.root.rstrip("/")

    def kind(self) -> str:
        """Whether it is a "file" or a "folder"; DownloadError if the store takes too long."""
        return in_time(self.shown, self._kind)

    def _kind(self) -> str:
        if self.web:
            # A folder has no name in HTTP: it is a page of links.
            last = self.root.rpartition("/")[2].lower()
            page = self.fs.info(self.root).get("mimetype") == "text/html" if "." in last else True
            if page:
                self.fs.ls(f"{self.root}/", detail=False)
            return "folder" if page else "file"
        entry = self.fs.info(self.root)
        if entry["type"] != "directory":
            return "file"
        # A folder of an object store is there if anything is below it; of a bucket that is told
        # only by listing it.
        if "/" not in self.root.strip("/") and not self.fs.ls(self.root, detail=False):
            raise not_there(self.shown)
        return "folder"

    def listed(
        self,
        keep: Callable[[str], bool] = lambda name: True,
        on_count: Callable[[int], None] = lambda count: None,
    ) -> list[RemoteFile]:
        """The files below, hidden ones left out, in the order of a local walk: one listing of each
        folder, several at a time.

        Of what `keep` does not want, by its name, only the first image of each folder is held: it
        shows where the class folders are.
        """
        found: list[RemoteFile] = []
        waiting, seen = [""], 0
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="graft-list") as pool:
            while waiting:
                inner: list[str] = []
                for folder, entries in zip(waiting, pool.map(self._entries, waiting), strict=True):
                    first = True
                    for name, is_folder, file in entries:
                        if is_folder:
                            inner.append(f"{folder}{name}/")
                            continue
                        seen += 1
                        image = is_image_name(name) or is_unread_picture(name)
                        if keep(file.name) or (image and first):
                            found.append(file)
                        first = first and not image
                    on_count(seen)
                waiting = inner
        found.sort(key=lambda file: walk_order(file.name))
        return found

    def file(self, name: str) -> RemoteFile:
        """A file by its name below the folder; nothing is asked."""
        path = quote(name, safe="/~!$&'()*+,;=:@") if self.web else name
        return RemoteFile(name, f"{self.root}/{path}" if name else self.root)

    def looked_up(self, file: RemoteFile) -> RemoteFile:
        """The file with its size and version; FileNotFoundError for one that is not there."""
        entry = self.fs.info(file.path)
        if entry["type"] == "directory":
            raise FileNotFoundError(file.path)
        return replace(_described(file, entry), path=file.path)

    def get(self, file: RemoteFile, destination: Path) -> None:
        """Write the bytes of a file to `destination`; raises what the library raises."""
        self.fs.get_file(file.path, str(destination))

    def _entries(self, folder: str) -> list[tuple[str, bool, RemoteFile]]:
        """What lies in a folder (ending in "/", or "" for the whole): names, whether each is a
        folder, and the files.
        """
        path = quote(folder, safe="/") if self.web else folder
        above = f"{self.root}/{path}"
        with told(f"{self.shown}/{folder}".rstrip("/")):
            entries = self.fs.ls(above if self.web else above.rstrip("/"), detail=True)
        found: dict[str, tuple[str, bool, RemoteFile]] = {}
        for entry in entries:
            own = str(entry["name"])
            plain = own.partition("?")[0].partition("#")[0] if self.web else own
            name = plain.rstrip("/").removeprefix(above.rstrip("/")).lstrip("/")
            name = unquote(html.unescape(name)) if self.web else name
            is_folder = entry["type"] == "directory"
            if not name or "/" in name or name in (".", "..") or is_hidden(name):
                continue
            file = RemoteFile(folder + name, html.unescape(own) if self.web else own)
            found[name] = (name, is_folder, file if is_folder else _described(file, entry))
        return list(found.values())


def in_time(shown: str, ask: Callable[[], T]) -> T:
    """What `ask` returns; DownloadError if that takes more than FIRST_ANSWER seconds."""
    found: list[T] = []
    failed: list[BaseException] = []

    def answer() -> None:
        try:
            found.append(ask())
        except BaseException as error:
            failed.append(error)

    # A thread of its own, which nobody waits for if the library tries again for minutes.
    asking = threading.Thread(target=answer, daemon=True)
    asking.start()
    asking.join(FIRST_ANSWER)
    if not (found or failed):
        raise no_answer(shown)
    with told(shown):
        if failed:
            raise failed[0]
    return found[0]


def _described(file: RemoteFile, entry: dict[str, Any]) -> RemoteFile:
    """A file with what the store says of it."""
    version = next((str(entry[name]) for name in _VERSIONS if entry.get(name)), "")
    version = version or next((str(entry[name]) for name in _TIMES if entry.get(name)), "")
    size = entry.get("size")
    size = int(size) if size is not None else None
    return replace(file, size=size, version=version.strip('"'), checksum=_checksum(entry))


def _checksum(entry: dict[str, Any]) -> tuple[str, str] | None:
    """A digest of the bytes that the store computed itself. S3's ETag is none: of encrypted objects
    and of those uploaded in parts it is something else.
    """
    lfs, settings = entry.get("lfs"), entry.get("content_settings")
    if sha256 := getattr(lfs, "sha256", None):
        return "sha256", str(sha256)
    md5 = entry.get("md5Hash") or (settings or {}).get("content_md5")
    if isinstance(md5, str):
        return "md5", base64.b64decode(md5).hex()
    return ("md5", bytes(md5).hex()) if isinstance(md5, bytes | bytearray) and md5 else None


def _opened(scheme: str, address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and what it calls the place."""
    package = SCHEMES[scheme]
    try:
        import_module(package)
        fsspec = import_module("fsspec")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{scheme}:// needs {error.name}, not installed; pip install 'graft[cloud]'"
        ) from error
    for library in _LOGGERS:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if package == "s3fs":
        options["config_kwargs"] = {
            "connect_timeout": CONNECT,
            "read_timeout": SILENCE,
            "retries": {"max_attempts": 2},
            "max_pool_connections": PARALLEL,
        }
    elif package == "gcsfs":
        options["requests_timeout"] = SILENCE
    elif package == "adlfs":
        options |= {"connection_timeout": CONNECT, "read_timeout": SILENCE}
    elif package == "huggingface_hub":
        import_module("huggingface_hub.utils").disable_progress_bars()
        options.pop("use_listings_cache")  # asks its own listings for each file
    elif package == "aiohttp":
        address, own = _web_options(address)
        options |= own
    system, root = fsspec.url_to_fs(address, **options)
    if package == "s3fs":
        system.retries = 2
    return system, root


def _web_options(address: str) -> tuple[str, dict[str, Any]]:
    """A web address without secrets, and what its requests need instead."""
    aiohttp = import_module("aiohttp")
    parts = urlsplit(address)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
    client: dict[str, Any] = {"timeout": timeout, "trust_env": True}
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        coded = base64.b64encode(f"{user}:{password}".encode()).decode()
        client["headers"] = {"Authorization": f"Basic {coded}"}
    options: dict[str, Any] = {"client_kwargs": client}
    if parts.query:
        options["params"] = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")), options
