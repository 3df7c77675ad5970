"""Methods, measurements and words of `gsim bench table2`."""
