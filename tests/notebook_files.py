"""Notebook files that tests declare, written as an editor would."""

from __future__ import annotations

import json


def code(source, *tags, **more):
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": [],
        "execution_count": None,
        **more,
    }


def text(source):
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def notebook(*cells, language="python", **metadata):
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "language": language, "display_name": "Python 3"},
            "language_info": {"name": language, "version": "3.11.7"},
            **metadata,
        },
        "cells": list(cells),
    }


def write(path, *cells, **metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*cells, **metadata)))
    return path
