"""What runs cost and where their time goes: the parts of jobs/benchmark.py, one a file."""
