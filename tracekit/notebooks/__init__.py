"""Questions to look into, as marimo notebooks over any lake; `notebooks.yaml` lists them.

They need the extra `notebooks` of the distribution. `tracekit ui` serves them as applications; one
alone is `TRACEKIT_LAKE=DIR marimo run FILE`, or `marimo edit FILE` to change it.
"""
