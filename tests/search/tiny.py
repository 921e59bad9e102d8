"""A CLIP model so small that it is made in a moment; its weights are random."""

import string
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
)

SIDE, DIMENSIONS, WORDS = 32, 24, 16
START, END = "<|startoftext|>", "<|endoftext|>"


def save_tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Save a model and its processor as the hub would give them.

    Args:
        folder: Where.
        seed: Another seed gives another model.
    """
    letters = string.ascii_lowercase
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    size: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": DIMENSIONS,
    }
    text = {
        "vocab_size": len(tokens),
        "max_position_embeddings": WORDS,
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    vision = {"image_size": SIDE, "patch_size": 8}
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config=size | text, vision_config=size | vision, projection_dim=DIMENSIONS
    )
    model = CLIPModel(config)
    images = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    model.save_pretrained(folder)
    CLIPProcessor(images, CLIPTokenizer(vocabulary, [])).save_pretrained(folder)
    return folder
