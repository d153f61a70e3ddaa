"""Processes that have imported what a run needs, and stay for the next one.

`server` forks a process for each request, which begins where another would be seconds later;
`client` asks for one, starts servers and ends them.  What is asked for is what another process
would be: the same environment, limits and code, see `identity` and `loaded`.
"""
