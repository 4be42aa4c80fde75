"""graft tells nobody that it is used, nor do the libraries that it drives."""

import subprocess
import sys

PROGRAM = """
import sys
import graft
begun = []
sys.addaudithook(lambda event, _: begun.append(event) if event in WATCHED else None)
from graft.features.backends import choose
print(choose("openvino"))
import openvino
loaded = [n for n, found in sys.modules.items() if "openvino_telemetry" in n and found]
print(loaded, begun)
"""
WATCHED = "WATCHED = {'os.fork', 'socket.connect'}"


def test_openvino_does_not_report_that_it_was_imported():
    program = [sys.executable, "-c", WATCHED + PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    backend, found = done.stdout.splitlines()
    assert backend.startswith("openvino ")
    assert found == "[] []", "it would report by a forked process"
