"""Descriptions that are equal if their digests are."""

import hashlib
import json
from typing import Any


def json_digest(described: Any) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a value as JSON, in which the order of keys
    does not matter; what JSON does not have is taken as text.
    """
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
