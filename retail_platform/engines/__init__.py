"""Engines: the libraries that the transformations run on, and which of them a run takes."""
