"""Result files of other programs, read into the samples that metrics read: one file a format."""
