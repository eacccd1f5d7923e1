"""The lake: Parquet partitions, the manifest that commits them, and the views."""
