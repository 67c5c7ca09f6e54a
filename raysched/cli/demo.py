"""`raysched demo`."""


def demo() -> None:
    """x"""
