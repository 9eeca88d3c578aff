"""Several GPUs at one window: one process leads, the others predict along."""
