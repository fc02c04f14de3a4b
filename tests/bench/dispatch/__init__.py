"""`scripts/bench dispatch`: how near the cluster comes to the best that its links and its aria2c could do."""
