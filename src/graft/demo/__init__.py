"""The demo that needs no network connection."""
