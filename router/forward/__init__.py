"""What changes on the way: heads towards upstreams and clients, and whether to try again. Pure."""
