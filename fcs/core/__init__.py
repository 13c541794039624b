"""The mathematics, and what every room needs: noise levels, denoiser, directions, constraints, operators, records."""
