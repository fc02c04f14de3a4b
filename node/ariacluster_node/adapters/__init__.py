"""A folder for each outside thing. Adapters fill ports and never lean on each other."""
