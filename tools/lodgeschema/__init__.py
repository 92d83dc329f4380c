"""The schema compiler: load.py reads and checks schema/*.toml, one module per kind of output writes it."""
