"""Submitting: the processes of one run started by a cluster's own engine (``fcs-submit``).

``options`` are checked and become a ``Submission``: what to run, with how much. ``slurm_array`` hands it to sbatch,
``ray_run`` makes Ray tasks of it (each a ``ray_worker``), ``kubernetes_job`` an Indexed Job. None of them distributes
the work: the processes do that in the run's folder. An engine starts them, and again those that are lost.
"""
