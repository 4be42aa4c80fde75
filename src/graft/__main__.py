"""`python -m graft` is `graft`: what torchrun starts, as `torchrun … -m graft train SOURCE`."""

from graft.cli.main import process

process()
