"""What the questions share: workloads, processes, records of runs, figures and their pages."""
