"""Whatever is frozen is computed once: activations of a data set, by way of the cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.stream import Loaded
from graft.learning.cache import Activations, Store, key_of, open_store
from graft.models.backbone import Backbone
from graft.models.encode import encode
from graft.models.engine import BATCH, Engine, compile_encoder
from graft.progress import Progress

# Raise when decode.py or views.py change the pixels that they make.
PIXELS_FORMAT = 2


class Frozen:
    """The frozen part's activations by view: features of a backbone, or for a network that
    trains from pixels (`engine_name` None) the pixels themselves.
    """

    def __init__(
        self,
        cache: Path,
        backbone: Backbone,
        engine_name: str | None,
        engine: str,
        views: int,
        flip: bool,
    ):
        self.backbone, self.views, self.flip = backbone, views, flip
        self.engine_name, self._engine = engine_name, engine
        self.compiled: Engine | None = None
        preprocess = backbone.preprocess
        if engine_name is None:
            key = key_of(pixels=preprocess.to_json(), format=PIXELS_FORMAT)
            shape: tuple[int, ...] = (preprocess.height, preprocess.width, 3)
            dtype: Any = np.uint8
        else:
            key = key_of(encoder=backbone.digest, engine=engine_name, format=PIXELS_FORMAT)
            shape, dtype = (backbone.features,), np.float16
        names = ["view0", *(f"view{v}{'-flip' if flip else ''}" for v in range(1, views))]
        self.stores: list[Store] = [open_store(cache, key, name, shape, dtype) for name in names]

    def compute(
        self,
        files: Sequence[Path],
        views_of: Callable[[int, bytes], Sequence[int]],
        on_loaded: Callable[[Loaded], None],
        progress: Progress,
        batch: int = BATCH,
    ) -> int:
        """Make sure that the stores hold each file's views; returns the number computed.

        `views_of` says, given a position and a digest, which views the file needs. Every file is
        read and hashed, and decoded only if a view of it is missing. Unusable files are left to
        `on_loaded`.
        """

        def missing(index: int, digest: bytes) -> list[int]:
            return [v for v in views_of(index, digest) if digest not in self.stores[v]]

        def loaded(item: Loaded) -> None:
            on_loaded(item)
            progress.advance(item.index + 1)

        computed = 0
        try:
            for item in encode(
                files,
                self.backbone.preprocess,
                None if self.engine_name is None else lambda: self.compile(batch),
                wanted=missing,
                flip=self.flip,
                on_loaded=loaded,
                batch=batch,
            ):
                for view, value in item.values.items():
                    if item.loaded.digest is not None:
                        self.stores[view].put(item.loaded.digest, value)
                        computed += 1
        finally:  # also when interrupted: what is done is done
            for store in self.stores:
                store.flush()
        return computed

    def compile(self, batch: int = BATCH) -> Engine:
        """The encoder's engine, compiled once."""
        if self.compiled is None:
            self.compiled = compile_encoder(self.backbone.build(), self._engine, batch)
        return self.compiled

    def has_views(self, digest: bytes) -> bool:
        """Whether every view of a file is there."""
        return all(digest in store for store in self.stores)

    def gather(self, digests: Sequence[bytes], view: int = 0) -> Activations:
        """The activations of these files in one view, in this order."""
        return self.stores[view].gather(digests)
