"""Carries decisions out, one turn at a time: `engine` takes messages in, `book` is its state.

Law: what `core` decides is done here, and nothing is decided anew. `jobs`, `runs`,
`attempts` and `backfill` change the book, `views` and `explain` read it; `driver` is the
thread. Clock, store, launcher and results are handed in.
"""
