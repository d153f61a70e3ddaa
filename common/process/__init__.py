"""Processes: started, watched, ended and counted; what they import and print."""
