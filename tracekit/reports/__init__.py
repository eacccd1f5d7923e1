"""The questions: library functions that return typed tables. The command line prints them."""
