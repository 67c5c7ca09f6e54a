"""What runs in a worker: a function, a notebook or a container, watched and measured.

Law: nothing here knows a scheduler. `native`, `notebook` and `container` run one attempt
each; `watch` puts it under `guard`, and `calls` is how others of the node reach that.
`code`, `context` and `pinned` are how code gets here.
"""
