"""The Jacobian of a denoiser, and how arithmetic rounds it."""
