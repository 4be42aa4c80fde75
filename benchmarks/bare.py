"""The least that any way has to do: decode every picture and run the engine over it, once.

`FOLDER`: prints the seconds of the pass alone as JSON; the process itself also pays for the
imports and for compiling, as every cold start must.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.common import WEIGHTS
from graft.data.scan import find_images
from graft.learning.cache import cache_folder
from graft.models.backbone import find_backbone
from graft.models.encode import encode
from graft.models.engine import compile_encoder

backbone = find_backbone(WEIGHTS, cache_folder())
engine = compile_encoder(backbone.build())
start = time.perf_counter()
count = sum(1 for _ in encode(find_images(Path(sys.argv[1])), backbone.preprocess, lambda: engine))
print(json.dumps({"images": count, "pass_seconds": time.perf_counter() - start}))
