"""FlexLoRA (Bai 2024, arXiv 2402.11505): clients of different ranks.

The server averages the products scale * B * A, which have one shape whatever the rank, and gives each
client the best approximation that its own rank allows: the truncated singular value decomposition. mean(B)
* mean(A) would be something else than mean(B * A) even where all ranks are equal.

A mean of low-rank products is kept as two thin factors, so the decompositions are of matrices as small as
the sum of the ranks. All of it is float64.
"""

from dataclasses import dataclass

import numpy as np

from .layout import Layout, first_a, flat, named
from .terms import Terms


@dataclass(frozen=True)
class Product:
    """The matrix left @ right, [out, in], with `left` [out, k] and `right` [k, in]."""

    left: np.ndarray
    right: np.ndarray

    def plus(self, other: "Product") -> "Product":
        """The sum, exact: factors are put side by side, and multiplied out once they are no longer thin."""
        left = np.concatenate([self.left, other.left], axis=1)
        right = np.concatenate([self.right, other.right], axis=0)
        height, width = left.shape[0], right.shape[1]
        if left.shape[1] <= min(height, width):
            return Product(left, right)
        if height <= width:
            return Product(np.eye(height), left @ right)
        return Product(left @ right, np.eye(width))

    def times(self, factor: float) -> "Product":
        return Product(self.left * factor, self.right)

    def decomposed(self, rank: int) -> "Product":
        """The nearest matrix of at most this rank.

        Each singular value's root is in both factors, so that neither of them learns much faster than the
        other. Signs, which the decomposition leaves open, are such that the largest value of each row on
        the right is positive: the same wherever it is computed.
        """
        q_left, r_left = np.linalg.qr(self.left)
        q_right, r_right = np.linalg.qr(self.right.T)
        u, sigma, v = np.linalg.svd(r_left @ r_right.T, full_matrices=False)
        # What is zero but for rounding is no direction to give to a client.
        kept = min(rank, int(np.sum(sigma > sigma[:1].sum() * 1e-12)))
        root = np.sqrt(sigma[:kept])
        left, right = q_left @ (u[:, :kept] * root), (root[:, None] * v[:kept]) @ q_right.T
        largest = np.take_along_axis(right, np.abs(right).argmax(axis=1, keepdims=True), axis=1)
        signs = np.where(largest < 0, -1.0, 1.0)
        return Product(left * signs.T, right * signs)

    def norm(self) -> float:
        """The Frobenius norm."""
        inner = (self.left.T @ self.left) * (self.right @ self.right.T)
        return float(np.sqrt(max(inner.sum(), 0.0)))


class FlexHeld:
    """The change of each module, scale * B * A, and the factors that clients of each rank are sent."""

    def __init__(self, layout: Layout, terms: Terms, seed: int) -> None:
        self._layout = layout.with_rank(terms.lora.r)
        self._terms = terms
        self._seed = seed
        self._products = {
            module: Product(np.zeros((height, 0)), np.zeros((0, width)))
            for module, (height, width) in layout.modules.items()
        }
        # As much is kept as the client of the largest rank can be given.
        self._kept_rank = terms.lora.r
        self._sent: dict[int, np.ndarray] = {}
        self.begin()

    def take(self, values: np.ndarray) -> None:
        """Begins with an adapter of rank `lora.r`, float32 [n]."""
        self._products = self._products_of(self._layout, values)
        self._sent = {}

    def values_for(self, layout: Layout) -> np.ndarray:
        if layout.rank not in self._sent:
            random = np.random.Generator(np.random.PCG64(self._seed))
            matrices = {}
            for module in self._products:
                matrices |= self._factors(module, layout.rank, random)
            self._sent[layout.rank] = flat(layout.entries, matrices)
        return self._sent[layout.rank]

    def _factors(self, module: str, rank: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """A and B of a module. Directions that there is nothing for begin as LoRA does: A random, B zero."""
        product = self._products[module].decomposed(rank)
        height, known = product.left.shape
        b = np.zeros((height, rank))
        a = first_a(random, rank, product.right.shape[1]).astype(np.float64)
        b[:, :known] = product.left / self._scale(rank)
        a[:known] = product.right
        return {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}

    def _scale(self, rank: int) -> float:
        return self._terms.lora.lora_alpha / rank

    def _products_of(self, layout: Layout, values: np.ndarray) -> dict[str, Product]:
        matrices = named(layout.entries, values)
        scale = self._scale(layout.rank)
        return {
            module: Product(matrices[f"{module}.lora_B.weight"] * scale, matrices[f"{module}.lora_A.weight"])
            for module in self._products
        }

    def begin(self) -> None:
        self._sum = {
            module: Product(product.left[:, :0], product.right[:0])
            for module, product in self._products.items()
        }
        self._weight = 0

    def add(self, layout: Layout, delta: np.ndarray, weight: int) -> None:
        learnt = self.values_for(layout).astype(np.float64) + delta
        for module, product in self._products_of(layout, learnt).items():
            self._sum[module] = self._sum[module].plus(product.times(weight))
        self._weight += weight
        self._kept_rank = max(self._kept_rank, layout.rank)

    def finish(self) -> float:
        change = 0.0
        for module, product in self._sum.items():
            new = product.times(1 / self._weight).decomposed(self._kept_rank)
            change += new.plus(self._products[module].times(-1)).norm() ** 2
            self._products[module] = new
        self._sent = {}
        return float(np.sqrt(change))

    def state(self) -> dict[str, np.ndarray]:
        state = {"kept_rank": np.array(self._kept_rank)}
        for index, product in enumerate(self._products.values()):
            state[f"left_{index}"], state[f"right_{index}"] = product.left, product.right
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._kept_rank = int(state["kept_rank"])
        for index, module in enumerate(self._products):
            self._products[module] = Product(state[f"left_{index}"], state[f"right_{index}"])
        self._sent = {}

    def matrices(self) -> dict[str, np.ndarray]:
        return named(self._layout.entries, self.values_for(self._layout))
