"""What may be wrong with a data set: its files, its folders."""
