"""The doctor: finds all that is wrong with a data set, and mends what can be decided safely."""
