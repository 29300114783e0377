"""Simple baselines, prompting and other tools that a run is compared with."""
