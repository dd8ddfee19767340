"""Parts of the bootstrap. Each touches few objects in a fork: see bootstrap.py."""
