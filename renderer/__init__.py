"""Renders the images that `graft demo` embeds: everyday objects, each in a scene of its own.

For development only; the wheel ships the images, not this. `python -m renderer OUT.zip` makes them.
"""
