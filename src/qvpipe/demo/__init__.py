"""A synthetic stand-in for QV-Pipe: rendered inspection videos with labels."""

from qvpipe.demo.render import render_demo

__all__ = ["render_demo"]
