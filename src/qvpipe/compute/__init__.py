"""The same work on many items: in processes of this machine, or on a cluster."""
