"""What the stages of search have in common as commands: each works for one embedder."""

import argparse
from collections.abc import Collection


def named_embedder(stage: str, does: str | None, known: Collection[str]) -> str:
    """Return the embedder that the command line names.

    Args:
        stage: Name of the stage.
        does: What it does, for its help.
        known: The embedders of params.yaml that it works for.
    """
    parser = argparse.ArgumentParser(prog=f"python -m qvpipe.stages.{stage}", description=does)
    parser.add_argument("embedder", choices=known, help="of params.yaml")
    return str(parser.parse_args().embedder)
