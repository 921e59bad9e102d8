"""The stages of dvc.yaml: read files, call the rooms, write files."""
