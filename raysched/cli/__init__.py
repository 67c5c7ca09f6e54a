"""The command line: one module for each thing that a command is about.

Law: a module here imports Typer at most; Ray, pandas, pyarrow and Rich are loaded by
the command that needs them, so that `raysched --help` answers at once.
"""
