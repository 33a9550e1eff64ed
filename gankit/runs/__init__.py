"""What a run is on disk: its directory, checkpoints, log, and what its data and its environment were."""
