"""Forgetting: what is deleted is in no row and no file, and what others made of it stays whole."""
