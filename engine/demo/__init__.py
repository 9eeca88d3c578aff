"""The demonstration model: what it is made of, how it was trained, what it can do (README.md), and its weights."""
