"""One agent and everybody who traces it. What runs in `.venv-peers` is started as a script."""
