"""Ratios of two ways measured side by side in one run; never absolute promises."""
