"""`graft doctor`: what to know about an installation that misbehaves, found without the network.

No part may keep the others from being told: what cannot be found out is a problem of its own.
"""

import os
import platform
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import graft
from graft.diagnosis.packages import (
    Package,
    broken,
    packages,
    reason,
    remedy,
    torchvision_mismatch,
)
from graft.errors import UsageError

FREE_AT_LEAST = 2 * 10**9  # bytes of disk that a first run may need
# What PyTorch calls the instruction sets that decide how fast a network runs here.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "neon": "NEON",
    "bf16": "bfloat16",
    "sve": "SVE",
}
# Besides GRAFT_*: what else changes how graft behaves.
ALSO_SET = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
PRECISIONS = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}

Found = TypeVar("Found")


class Doctor:
    """Collects what is found, and `problems`: each with what is wrong and what to do."""

    def __init__(self) -> None:
        self.problems: list[dict[str, str]] = []
        self.packages: list[Package] = []

    def diagnose(self) -> dict[str, Any]:
        """All of it, ready for JSON. Sizes are bytes; None is what could not be found out."""
        self.packages = self._try("packages", packages) or []
        self._judge_packages()
        return {
            "graft": {"version": _version(), "folder": str(Path(graft.__file__).parent)},
            "python": platform.python_version(),
            "system": platform.platform(),
            "packages": {package.name: package.version for package in self.packages},
            "broken": [package.name for package in self.packages if package.problem],
            "processor": self._try("processor", _processor),
            "memory": self._try("memory", _memory),
            "gpu": self._try("GPU", self._gpu),
            "backend": self._try("backend", _backend),
            "weights": self._try("weights", _weights),
            "cache": self._try("cache", self._cache),
            "environment": _environment(),
            "problems": self.problems,
        }

    def _problem(self, what: str, todo: str) -> None:
        self.problems.append({"what": what, "todo": todo})

    def _try(self, part: str, find: Callable[[], Found]) -> Found | None:
        try:
            return find()
        except UsageError as error:
            self._problem(str(error), "set it to such a value, or unset it")
        # The doctor's patients are machines on which anything may be broken.
        except Exception as error:
            # A package that cannot be imported has been told already.
            if not broken(error) or not any(package.problem for package in self.packages):
                self._problem(f"{part}: {reason(error)}", "please report this as a bug")
        return None

    def _judge_packages(self) -> None:
        failed = {package.name for package in self.packages if package.problem}
        mismatch = torchvision_mismatch()
        for package in self.packages:
            if package.problem is None or package.culprit in failed - {package.name}:
                continue  # told with the package where it began
            instead = "; graft computes with PyTorch meanwhile" * (package.name == "openvino")
            if package.version is None:
                self._problem(f"{package.name} is not installed", f"pip install {package.name}")
            else:
                why = (package.name == "torchvision" and mismatch) or package.problem
                what = f"{package.name} {package.version} cannot be imported: {why}"
                self._problem(what + instead, remedy(package.culprit or package.name))
        if mismatch and "torchvision" not in failed:
            self._problem(mismatch, remedy("torchvision"))

    def _gpu(self) -> dict[str, Any]:
        import torch

        from graft.models.runtime import detect_runtime

        with warnings.catch_warnings(record=True) as said:  # such as: the driver is too old
            warnings.simplefilter("always")
            available = torch.cuda.is_available()
        devices: list[dict[str, Any]] = []
        if available:
            for index in range(torch.cuda.device_count()):
                told = torch.cuda.get_device_properties(index)
                devices.append({"name": told.name, "memory": told.total_memory})
        elif (runtime := detect_runtime("float32")).device.type != "cpu":
            devices.append({"name": runtime.where, "memory": None})
        elif Path("/dev/nvidia0").exists() and "CUDA_VISIBLE_DEVICES" not in os.environ:
            why = str(said[0].message) if said else "its driver does not answer"
            if torch.version.cuda is None:
                why = "this PyTorch is the CPU version"
            self._problem(
                f"there is an NVIDIA GPU that PyTorch cannot use: {why}",
                "choose your CUDA version on pytorch.org, and see whether nvidia-smi finds the GPU",
            )
        return {"cuda": torch.version.cuda, "devices": devices}

    def _cache(self) -> dict[str, Any]:
        from graft.features.cache import usage
        from graft.utils.cache_folder import cache_folder, cache_limit

        folder = cache_folder().absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            self._problem(
                f"the cache cannot be written: {there}: {error.strerror}",
                "set GRAFT_CACHE to a folder that you may write to",
            )
        free = shutil.disk_usage(there).free
        if free < FREE_AT_LEAST:
            self._problem(
                f"only {free / 1e9:.1f} GB are free on the disk of the cache, {there}",
                "graft cache --clear, or set GRAFT_CACHE to a folder on a larger disk",
            )
        held = {entry.kind: {"files": entry.files, "bytes": entry.bytes} for entry in usage(folder)}
        limit = self._try("cache", cache_limit)
        return {"folder": str(folder), "limit": limit, "free": free, "held": held}


def _version() -> str | None:
    try:
        return metadata.version("graft")
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    import torch

    from graft.data.reader import cores

    has = torch.cpu.get_capabilities()
    return {
        "name": _processor_name() or has.get("cpu_name") or platform.machine(),
        "cores": cores(),
        "physical_cores": has.get("num_physical_cores"),
        "instructions": [name for key, name in INSTRUCTIONS.items() if has.get(key)],
    }


def _processor_name() -> str | None:
    file = Path("/proc/cpuinfo")
    told = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return found[1].strip() if found else None


def _memory() -> int | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _backend() -> dict[str, str]:
    from graft.features.backends import choose
    from graft.models.runtime import detect_runtime, float32_asked_for

    name, runtime = choose(), detect_runtime()
    asked = "GRAFT_PRECISION asks for it" if float32_asked_for() else ""
    if name.startswith("openvino"):
        native = " bf16 " in name
        lacks = "this processor does not compute in bfloat16"
        why = "this processor computes in it" if native else asked or lacks
        return {
            "name": name,
            "why": f"OpenVINO in {'bfloat16' if native else 'float32'}, because {why}",
        }
    precision = PRECISIONS[runtime.precision]
    if runtime.device.type != "cpu":
        what, why = f"PyTorch on {runtime.where} in {precision}", "there is a GPU"
        return {"name": name, "why": f"{what}, because {why}{asked and f' and {asked}'}"}
    return {"name": name, "why": f"PyTorch in {precision}, because OpenVINO cannot be imported"}


def _weights() -> list[str]:
    """Pretrained networks that work here without a network connection, of those in graft models."""
    from graft.models.zoo import list_models

    return [row["name"] for row in list_models() if row["here"] and row["megabytes"]]


def _environment() -> dict[str, str]:
    names = [name for name in os.environ if name.startswith("GRAFT_") or name in ALSO_SET]
    # An address may hold a password, a key is one, and this goes into bug reports.
    return {
        name: "…" if name.endswith("_KEY") else re.sub(r"//[^/@]*@", "//…@", os.environ[name])
        for name in sorted(names)
    }
