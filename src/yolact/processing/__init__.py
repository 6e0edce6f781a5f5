"""What happens before and after the network, identical for every caller."""
