"""Which method for which model and data: the commands of ``fcs-bench``."""
