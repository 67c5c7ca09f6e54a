"""The guard: a small companion process beside each Ray worker process.

A job runs in the Ray worker itself, so the job can hold the GIL, fill a pipe
from C code, crash, or leave processes behind. What must survive all of that is
kept outside: this program reads the worker's output, keeps the clock of the
attempt under way, ends its process tree for certain, and holds its last words.

`raysched.runners.watch` is the worker's side, `raysched.runners.calls` that of
others on its node. Only the standard library may be imported here, and little of
it, so that a guard starts in a moment and weighs next to nothing beside each worker:

    __main__.py   what Python is started with: finds the modules below
    program.py    the guard itself, and what it decides
    loop.py       what wakes it
    attempt.py    the attempt under way, as the guard knows it
    caplog.py     an attempt's output, whole lines, capped
    procs.py      the process table: who descends from whom, ending them
    kin.py        which processes are an attempt's
    pipes.py      what waits in a pipe
    mail.py       the terms of an attempt, as the worker lays them down
    callers.py    who else calls on it
    sockets.py    what the guard hears and answers through
    wire.py       the messages between guard, worker and callers
"""
