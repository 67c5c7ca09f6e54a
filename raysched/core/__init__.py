"""What the scheduler decides: pure functions over frozen values.

Law: state and `now` go in, decisions with their reasons come out. No clock, no I/O, no
randomness, no Ray. `model`, `states` and `orders` are the values; `slots`, `dispatch`,
`retries`, `sharing`, `plan`, `backfill`, `capacity` and `explain` decide; `ports` is what
the engine needs of the world.
"""
