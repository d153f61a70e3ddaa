"""`visionline ui`: a read-only page over the lineage library.

app.py         routes, errors, headers
pages.py       what each page shows
rendering.py   the templates; a model's page as a file of its own
links.py       addresses of pages
words.py       values as people read them
chart.py       the picture of a model's history
server.py      the process: port, address, Ctrl-C
templates/, static/

Every request opens a reader of its own.  No page loads anything from elsewhere or runs
a script.
"""
