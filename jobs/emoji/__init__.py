"""Data and training of emoji-64, the embedded latent diffusion model."""
