"""Starts the guard by this file's path, under `python -I -S`, in a moment.

The modules beside it are imported by their full names, yet neither raysched's
`__init__` files nor site-packages are: stand-ins that know only their folders
take the packages' places. Nothing else belongs here, as Python compiles this
file anew at each start, while it caches the modules.
"""

import sys

folder = __file__.rpartition("/")[0]
for package in ("raysched.runners.guard", "raysched.runners", "raysched"):
    stand_in = type(sys)(package)
    stand_in.__path__ = [folder]
    sys.modules[package] = stand_in
    folder = folder.rpartition("/")[0]

from raysched.runners.guard.program import main  # noqa: E402 - only now can it be found

main(sys.argv)
