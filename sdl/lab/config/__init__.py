"""The lab file: its schema (`model`), limits of agents, and `file`, which loads it with all of its campaigns."""
