"""The least that any way has to do: decode every image and run the backend over it, once.

`FOLDER`: prints the seconds of the pass alone as JSON; the process itself also pays for the
imports and for compiling, as every cold start must.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.common import WEIGHTS
from graft.data.sources import find_images
from graft.features.backends import compile_encoder
from graft.features.extraction import encode
from graft.models.weights import find_backbone
from graft.utils.cache_folder import cache_folder

backbone = find_backbone(WEIGHTS, cache_folder())
backend = compile_encoder(backbone.build())
start = time.perf_counter()
count = sum(1 for _ in encode(find_images(Path(sys.argv[1])), backbone.preprocess, lambda: backend))
print(json.dumps({"images": count, "pass_seconds": time.perf_counter() - start}))
