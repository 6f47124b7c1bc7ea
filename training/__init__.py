"""Trajectories into adapters, and what repairs are worth: training and its benchmarks. Imports sandbox and inference, never bot."""
