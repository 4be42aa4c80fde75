"""onnxruntime-web: which files the page runs, by which digests they are known, and laying them
beside the page.
"""

import base64
import os
import shutil
from pathlib import Path
from typing import Any

from graft.data.download import fetch
from graft.errors import DownloadError, UsageError
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress

VERSION = "1.30.0"
# A content delivery network that serves the packages of npm, file by file.
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
# Another address, or a folder, with the same files.
MIRROR = "GRAFT_ONNXRUNTIME_WEB"
FOLDER = "runtime"
# Bytes and SHA-256 of dist/NAME in onnxruntime-web-1.30.0.tgz.
FILES = {
    "ort.wasm.bundle.min.mjs": (
        73_054,
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "ort-wasm-simd-threaded.wasm": (
        14_239_897,
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
    "ort.webgpu.bundle.min.mjs": (
        117_732,
        "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    ),
    "ort-wasm-simd-threaded.asyncify.wasm": (
        26_781_914,
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
}
# What each way to compute loads: a script, and the WebAssembly it runs.
BACKENDS = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}


def integrity(sha256: str) -> str:
    """A hex SHA-256 as browsers take it (Subresource Integrity)."""
    return "sha256-" + base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


def address(offline: bool) -> str:
    """Where the page finds the runtime: a folder beside it, or the network's address."""
    if offline:
        return FOLDER + "/"
    given = os.environ.get(MIRROR, "")
    return given.rstrip("/") + "/" if given.startswith(("http://", "https://")) else CDN


def described(offline: bool) -> dict[str, Any]:
    """For each backend the address and the digest of its script and of its WebAssembly."""
    base = address(offline)

    def file(name: str) -> dict[str, str]:
        return {"url": base + name, "integrity": integrity(FILES[name][1])}

    return {
        backend: {"script": file(script), "wasm": file(wasm)}
        for backend, (script, wasm) in BACKENDS.items()
    }


def require_runtime(offline: bool, progress: Progress) -> dict[str, Path]:
    """The runtime's files by name, fetched once and checked by their digests; none are needed
    where the page fetches them itself.

    $GRAFT_ONNXRUNTIME_WEB names a mirror: an address, or a folder such as package/dist of
    `npm pack onnxruntime-web@VERSION`, unpacked. Raises DownloadError for a file that cannot be
    fetched or is not the pinned one, UsageError for a folder where the page is not `offline`.
    """
    given = os.environ.get(MIRROR, "")
    local = Path(given) if given and not given.startswith(("http://", "https://")) else None
    if not offline:
        if local:
            raise UsageError(
                f"{MIRROR} names the folder {local}, which only a page made with --offline can "
                "take the runtime from; add --offline, or name an address"
            )
        return {}
    kept = local or cache_folder() / f"onnxruntime-web-{VERSION}"
    found = {}
    for name, (size, sha256) in FILES.items():
        if local and not (local / name).is_file():
            raise DownloadError(
                f"expected onnxruntime-web {VERSION}'s {name} in {local}, which {MIRROR} names; "
                f"name the folder dist of its npm package"
            )
        if not (kept / name).is_file():
            progress.say(f"fetching {name} ({size / 1e6:.1f} MB)")
        way_out = f"or set {MIRROR} to a mirror or to a folder with it"
        found[name] = fetch(
            address(False) + name, kept / name, sha256=sha256, size=size, way_out=way_out
        )
    return found


def lay_beside(folder: Path, progress: Progress) -> None:
    """Copy the runtime into `folder`/runtime. Raises as require_runtime."""
    files = require_runtime(True, progress)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        shutil.copyfile(file, folder / FOLDER / name)
