"""Whether a probability deserves its name: labels, baselines, metrics, fits and their public scoreboard."""
