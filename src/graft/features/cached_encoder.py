"""The frozen half of a network, and the cache of what it gives: an image is encoded once."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.data.augmentation import Augmentation
from graft.data.decode import resized_shorter_side
from graft.data.fingerprint import FINGERPRINT, FINGERPRINT_FORMAT, SIDE
from graft.data.reader import PLAIN, Loaded
from graft.features.activations import Activations, Store, key_of, open_store
from graft.utils.progress import Progress

if TYPE_CHECKING:
    from graft.features.backends import LazyBackend
    from graft.models.backbone import Backbone

# Raise when decoding or augmentation change the pixels that they make.
PIXELS_FORMAT = 2


class CachedEncoder:
    """What is computed of each image once, by view: features of a backbone (D,); with `cut`, the
    activation at that split point, `cut_size` numbers, and the features after it; or, for a
    network that trains from pixels (`backend` None), the pixels themselves.
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
    ):
        self.cache = cache
        self.backbone, self.views, self.backend = backbone, views, backend
        self.augmentation = augmentation
        self.cut, self.cut_size = cut, cut_size
        # An image's fingerprint depends on the size that it is decoded at, if that is small.
        least = min(SIDE, resized_shorter_side(backbone.preprocess))
        key = key_of(sketch=FINGERPRINT_FORMAT, side=least)
        self.fingerprints = open_store(cache, key, "view0", (FINGERPRINT.itemsize,), np.uint8)
        self.stores = self._open(cache)
        if backend and not any(map(len, self.stores)):
            # Nothing cached under the expected backend's name: the one that can really run this
            # network may have another.
            expected = backend.name
            if backend().name != expected:
                self.stores = self._open(cache)
        self._begun = any(map(len, self.stores))
        self.from_cache = False

    def _open(self, cache: Path) -> list[Store]:
        preprocess = self.backbone.preprocess
        if self.backend is None:
            key = key_of(pixels=preprocess.to_json(), format=PIXELS_FORMAT)
            shape: tuple[int, ...] = (preprocess.height, preprocess.width, 3)
            dtype: Any = np.uint8
        else:
            digest, name = self.backbone.digest, self.backend.name
            described = {"encoder": digest, "engine": name, "format": PIXELS_FORMAT}
            key = key_of(**described, **({"cut": self.cut} if self.cut else {}))
            shape, dtype = (self.cut_size + self.backbone.features,), np.float16
        names = ["view0", *(f"view{v}{self.augmentation.key}" for v in range(1, self.views))]
        return [open_store(cache, key, name, shape, dtype) for name in names]

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

        def missing(index: int, digest: bytes) -> list[int]:
            wanted = views_of(index, digest)
            lacking = [v for v in wanted if digest not in self.stores[v]]
            self.from_cache |= self._begun and len(lacking) < len(wanted)
            return lacking

        def loaded(item: Loaded) -> None:
            if item.fingerprint is not None and item.digest is not None:
                self.fingerprints.put(item.digest, item.fingerprint)
            on_loaded(item)
            progress.advance(item.index + 1)

        try:
            for item in encode(
                files,
                self.backbone.preprocess,
                self.backend,
                wanted=missing,
                augmentation=self.augmentation,
                on_loaded=loaded,
                fingerprinted=lambda digest: digest not in self.fingerprints,
                **({"batch": self.backend.batch} if self.backend else {}),
            ):
                for view, value in item.values.items():
                    if item.loaded.digest is not None:
                        self.stores[view].put(item.loaded.digest, value)
        finally:  # also when interrupted: what is done is done
            for store in (*self.stores, self.fingerprints):
                store.flush()

    def has_views(self, digest: bytes, views: Sequence[int]) -> bool:
        """Whether these views of a file are there."""
        return all(digest in self.stores[view] for view in views)

    def row_bytes(self) -> int:
        """The disk that one view of an image takes."""
        store = self.stores[0]
        return math.prod(store.shape) * int(store.dtype.itemsize)

    def gather(self, digests: Sequence[bytes], view: int = 0) -> Activations:
        """The activations of these files in one view, in this order."""
        return self.stores[view].gather(digests)
