"""Where evidence comes from, one file each. To hear from a new source: write its file, call it in `looking.py`."""
