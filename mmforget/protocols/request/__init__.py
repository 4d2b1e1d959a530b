"""Somebody's own data: a folder with `request.yaml` says who is forgotten and who is kept; no publication."""
