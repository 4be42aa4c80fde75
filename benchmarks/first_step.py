"""The first step of an optimizer in a fresh process: graft's, and PyTorch's class.

[ROUNDS]: medians over so many processes each; `compiler` says whether it was imported.
"""

import subprocess
import sys

from benchmarks.common import median, show

PROGRAM = """
import sys, time, torch
from graft.training.optim import Group, Optimizer
model = torch.nn.Sequential(torch.nn.Linear(2136, 256), torch.nn.ReLU(), torch.nn.Linear(256, 5))
model(torch.randn(64, 2136)).square().sum().backward()
start = time.perf_counter()
if sys.argv[1] == "graft":
    Optimizer([Group(list(model.parameters()))], "adamw", 0.05).step(2e-3)
else:
    torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05, fused=True).step()
print(time.perf_counter() - start, "torch._dynamo" in sys.modules)
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for kind in ("graft", "torch"):
        command = [sys.executable, "-c", PROGRAM, kind]
        ran = [
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            for _ in range(rounds)
        ]
        seconds = median([float(found[0]) for found in ran])
        show("first_step", optimizer=kind, seconds=seconds, compiler=ran[0][1])


if __name__ == "__main__":
    main()
