"""Quick pictures of a window while it is denoised."""
