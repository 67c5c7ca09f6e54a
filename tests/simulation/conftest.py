"""Simulations run without Ray: importing or starting it during one is a failure."""

from support import no_ray

__all__ = ["no_ray"]
