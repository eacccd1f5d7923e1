"""A local application to look at a lake: a list of sessions and a page for each.

state     what is asked of the lake, and what is remembered between requests
lists     the list: words of the address to a condition, sessions to a page
details   one session
guard     who may ask
server    the standard library's HTTP server around them
notebooks the notebooks as applications, where marimo is installed
"""
