"""One function over many items in processes (`pool`), and the environment of all child processes (`children`)."""
