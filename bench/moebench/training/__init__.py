"""Training: one loop for all variants, devices, seeds."""
