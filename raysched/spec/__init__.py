"""What a user declares: frozen values, and the checks that make them of anything written.

Law: nothing here loads Ray, or knows the scheduler or its files; a value that cannot be
meant is refused here, with what to write instead. `job`, `container_job` and
`notebook_job` are the three kinds; `options` is what they share, `definition` what the
scheduler gets of them.
"""
