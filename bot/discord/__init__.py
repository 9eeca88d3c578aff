"""Longtake in Discord: listeners and commands translate to a use case of the studio, and its answer back."""
