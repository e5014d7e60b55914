"""Sweeps: fixed settings over seeds, and measures of the trained models. They answer a question and rank nothing."""
