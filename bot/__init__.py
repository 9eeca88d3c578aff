"""Faces and use cases: the command line and the studio behind it."""
