"""Measurements of the gateway as ratios against honest floors, taken side by side in one run."""
