"""Data of one's own: a folder with `request.yaml`, a table and pictures, as the rows of a forget request."""
