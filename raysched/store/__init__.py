"""What outlives every process: the state database, and the history and results as files.

Law: SQL, and how files of a home are written and read, stay in this room. A row leaves the
database only after the file that holds it is durable (`sql`, `sealer`, `history`). Readers
see each row once, wherever it is (`query`, over `reader`, `stream` and `consulting`).
Results are staged, then published (`returned`, `results`). `home` is where all of it lies.
"""
