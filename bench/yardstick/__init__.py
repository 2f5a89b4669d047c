"""The yardstick: what Flarelay costs, as ratios to nginx and to other gateways in the same run."""
