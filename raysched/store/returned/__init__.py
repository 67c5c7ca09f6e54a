"""Judging what a job returned, without trusting it.

Law: `type(value)` decides, never `isinstance`, which a value's own `__class__`
can answer. The methods of a class that raysched does not know are not called,
not even `repr`; the one exception is `__arrow_c_stream__`, behind `refusing`.

    judge.py     what a value becomes: nothing, JSON, a table, a notebook
    tables.py    what is a table, and has a form in Parquet
    values.py    what has a form in JSON
    foreign.py   how a class that nobody knows is named, and its exceptions are caught
"""

from raysched.store.returned.foreign import refusing, type_name
from raysched.store.returned.judge import Result, classify

__all__ = ["Result", "classify", "refusing", "type_name"]
