"""What `%load_ext raysched` adds to a notebook: `%runs` and `%%rsched`."""
