"""`python -m benchmarks`: all of them, one after the other; each is a module of its own."""

import subprocess
import sys

NAMES = (
    "startup",
    "accuracy",
    "truth",
    "predict_speed",
    "memory",
    "train_speed",
    "loop_speed",
    "tune_speed",
)

for name in sys.argv[1:] or NAMES:
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
