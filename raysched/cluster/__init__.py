"""Ray: the actors, the tasks that are attempts, and the way between them.

Law: Ray's actors and tasks are made here, and nothing is decided. `scheduler` wraps the
engine, `launcher` owns the tasks, `worker` runs in one; `handle` is a client's hold on the
scheduler. `finding`, `local`, `mark` and `token` are about which Ray is meant, and who may
join it.
"""
