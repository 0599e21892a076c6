"""What `loadtest/run.py` is made of: a cluster, what goes wrong in it, and what is made of k6's figures."""
