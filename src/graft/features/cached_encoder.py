"""The frozen half of a network, and the cache of what it gives: an image is encoded once."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.data.augmentation import Augmentation
from graft.data.decode import resized_shorter_side
from graft.data.feature_folder import read_job
from graft.data.feature_listing import rows_of_folder
from graft.data.fingerprint import FINGERPRINT, FINGERPRINT_FORMAT, SIDE
from graft.data.reader import PLAIN, WINDOW, Loaded
from graft.errors import UsageError
from graft.features.activations import Activations, Store, key_of, open_store
from graft.utils.progress import Progress

if TYPE_CHECKING:
    from graft.features.backends import Backend, LazyBackend
    from graft.features.shard_store import ShardStore
    from graft.models.backbone import Backbone
    from graft.models.runtime import Runtime

# Raise when decoding or augmentation change the pixels that they make.
PIXELS_FORMAT = 2
# Decoded images that wait for the network take this many bytes, and are so many at most.
AHEAD_BYTES, MOST_AHEAD = 2**26, 512


class CachedEncoder:
    """What is computed of each image once, by view: features of a backbone (D,); with `cut`, the
    activation at that split point, `cut_size` numbers, and the features after it; or, for a
    network that trains from pixels (`backend` None), the pixels themselves. `whole` as in
    `graft.data.reader.stream`. With `shards`, a folder of `graft features`, all is read from there.
    `runtime`, where several processes share the work, says which of them this is; see
    shared_work.py.
    """

    def __init__(
        self,
        cache: Path,
        backbone: "Backbone",
        backend: "LazyBackend | None",
        views: int,
        augmentation: Augmentation = PLAIN,
        cut: str | None = None,
        cut_size: int = 0,
        whole: bool = False,
        shards: Path | None = None,
    ):
        self.cache, self.shards = cache, shards
        self.backbone, self.views, self.backend = backbone, views, backend
        self.stores: Sequence[Store | ShardStore]
        self.fingerprints: Store | ShardStore
        self._name: str
        self.augmentation = augmentation
        self.cut, self.cut_size, self.whole = cut, cut_size, whole
        self.runtime: Runtime | None = None
        if shards is not None:
            self._read_shards(shards)
            return
        self.fingerprints = self._open_fingerprints()
        self._use(backend.name if backend else "")
        self.from_cache = False
        if backend and not self._begun and self._fallen_back():
            # The one that can really run this network may have another name than is expected.
            self._use(backend().name)

    def _read_shards(self, folder: Path) -> None:
        from graft.features.shard_store import fingerprint_store, view_store

        job = read_job(folder)
        if job["encoder"] != self.backbone.digest:
            raise UsageError(
                f"{folder} has the features of {job['model']} at {job['image_size']} pixels, and "
                f"this is {self.backbone.name} at {self.backbone.preprocess.height} pixels, or "
                "another version of it; leave --model out, or run `graft features` for it first"
            )
        if self.views > job["views"]:
            raise UsageError(
                f"{folder} has {job['views']} of the {self.views} views asked for; leave --views "
                "out"
            )
        paths = rows_of_folder(folder).paths
        self.fingerprints = fingerprint_store(paths)
        self.stores = [view_store(paths, view) for view in range(self.views)]
        self._name, self.from_cache = str(job["engine"]), True

    @property
    def engine(self) -> str:
        """What computed, or is to compute, the values; "" for pixels."""
        return self._name

    def name_engine(self, backend: "Backend") -> None:
        """Open the stores of this backend, if they are not: the one that was expected may not be
        able to run the network.
        """
        if backend.name != self._name:
            self._use(backend.name)

    def _open_fingerprints(self) -> Store:
        # An image's fingerprint depends on the size that it is decoded at, if that is small.
        least = min(SIDE, resized_shorter_side(self.backbone.preprocess))
        key = key_of(sketch=FINGERPRINT_FORMAT, side=least)
        return open_store(self.cache, key, "view0", (FINGERPRINT.itemsize,), np.uint8)

    def reopen(self) -> None:
        """Open the stores again, with what other processes have put into them."""
        self._use(self._name)
        self.fingerprints = self._open_fingerprints()

    def settle(self) -> None:
        """Compile the backend, if there is one, to know what really runs."""
        if self.backend:
            self.name_engine(self.backend())

    def _use(self, name: str) -> None:
        """Open the stores of what a backend of this name computes."""
        self.stores, self._name = self._open(name), name
        self._begun = any(map(len, self.stores))

    def _fallen_back(self) -> bool:
        """Whether activations were kept that PyTorch computed in place of a faster backend."""
        from graft.features.backends import choose

        return any(map(len, self._open(choose("torch"))))

    def _open(self, name: str) -> list[Store]:
        preprocess = self.backbone.preprocess
        if self.backend is None:
            key = key_of(pixels=preprocess.to_json(), format=PIXELS_FORMAT)
            shape: tuple[int, ...] = (preprocess.height, preprocess.width, 3)
            dtype: Any = np.uint8
        else:
            digest = self.backbone.digest
            described = {"encoder": digest, "engine": name, "format": PIXELS_FORMAT}
            more = ({"cut": self.cut} if self.cut else {}) | ({"whole": 1} if self.whole else {})
            key = key_of(**described, **more)
            shape, dtype = (self.cut_size + self.backbone.features,), np.float16
        names = ["view0", *(f"view{v}{self.augmentation.key}" for v in range(1, self.views))]
        return [open_store(self.cache, key, name, shape, dtype) for name in names]

    def _compiled(self, lazy: "LazyBackend") -> "Backend":
        """The backend, asked for when the first batch is decoded: the cores go on decoding while
        the network is built and compiled. The stores get the name of what really runs.
        """
        backend = lazy()
        self.name_engine(backend)
        return backend

    def compute(
        self,
        files: Sequence[Path],
        views_of: Callable[[int, bytes], Sequence[int]],
        on_loaded: Callable[[Loaded], None],
        progress: Progress,
    ) -> None:
        """Make sure that the stores hold each file's fingerprint and the views that `views_of`
        names, given its position and digest. `from_cache` says whether some were there before.

        Every file is read and hashed, and decoded only if a view of it is missing. Unusable files
        are left to `on_loaded`.
        """
        from graft.features.extraction import encode

        if self.shards is not None:
            raise UsageError(f"{self.shards} holds features, not images; this needs the images")

        def missing(index: int, digest: bytes) -> list[int]:
            wanted = views_of(index, digest)
            lacking = [v for v in wanted if digest not in self.stores[v]]
            self.from_cache |= self._begun and len(lacking) < len(wanted)
            return lacking

        def loaded(item: Loaded) -> None:
            if item.fingerprint is not None and item.digest is not None:
                _filled(self.fingerprints).put(item.digest, item.fingerprint)
            on_loaded(item)
            progress.advance(item.index + 1)

        try:
            for item in encode(
                files,
                self.backbone.preprocess,
                partial(self._compiled, self.backend) if self.backend else None,
                wanted=missing,
                augmentation=self.augmentation,
                on_loaded=loaded,
                fingerprinted=lambda digest: digest not in self.fingerprints,
                ahead=self._ahead(),
                whole=self.whole,
                **({"batch": self.backend.batch} if self.backend else {}),
            ):
                for view, value in item.values.items():
                    if item.loaded.digest is not None:
                        _filled(self.stores[view]).put(item.loaded.digest, value)
        finally:  # also when interrupted: what is done is done
            for store in (*self.stores, self.fingerprints):
                _filled(store).flush()

    def _ahead(self) -> int:
        """Images to decode ahead: what occupies the other cores while the network is compiled."""
        preprocess = self.backbone.preprocess
        image = preprocess.height * preprocess.width * 3 * self.views
        return min(max(WINDOW, AHEAD_BYTES // image), MOST_AHEAD)

    def has_views(self, digest: bytes, views: Sequence[int]) -> bool:
        """Whether these views of a file are there."""
        return not self.lacking([digest], views)

    def lacking(self, digests: Sequence[bytes], views: Sequence[int]) -> list[int]:
        """The positions of those files of which a view is not there."""
        return sorted({n for view in views for n in self.stores[view].lacking(digests)})

    def row_bytes(self) -> int:
        """The disk that one view of an image takes."""
        store = self.stores[0]
        return math.prod(store.shape) * int(store.dtype.itemsize)

    def gather(self, digests: Sequence[bytes], view: int = 0) -> Activations:
        """The activations of these files in one view, in this order.

        From shards, the plain view stands for one that an image does not have there: see
        `FeatureTable.complete`.
        """
        store = self.stores[view]
        if isinstance(store, Store):
            return store.gather(digests)
        first = self.stores[0]
        return store.gather(digests, None if isinstance(first, Store) or not view else first)


def _filled(store: "Store | ShardStore") -> Store:
    """A store that `compute` puts values into: not one of shards, which it refuses."""
    if isinstance(store, Store):
        return store
    raise TypeError("the files of graft features are not written by an encoder")
