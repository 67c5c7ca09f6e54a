"""The typed handle that notebook, command line and tests share.

connect.py       from nothing to a client
client.py        the client: deploy, trigger, pause, and the history
deployments.py   what a deploy sends
folder.py        a folder of job files, and `jobfile.py` a `job.toml` in it
explain.py       why a job or a run is where it is
prefix.py        which run the beginning of an id means
run.py           a run, and `notebooks.py` its executed notebook
history.py       the same frames straight from the files
live.py          a run as it changes, on a `stage.py`
glance.py        a look that never raises, for what shows itself by its `cards.py`
"""

from raysched.client.client import Client
from raysched.client.run import Run

__all__ = ["Client", "Run"]
