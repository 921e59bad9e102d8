"""From videos of pipes to a registered ensemble that recognises their defects."""
