"""The sample store: memory chips as data, and the format of data sets that boards keep in them."""
