"""Whether the machine is fit for the work, and whether anything raw has left it."""
