"""How deltas travel: what is decoded, what is refused, and that nothing is lost over rounds."""

import unittest

import numpy as np

from tabtune_federated.privacy import decode_delta, encode_delta


def random_delta(n: int, seed: int = 1, size: float = 1e-3) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * size).astype(np.float32)


class Encoding(unittest.TestCase):
    def test_each_dtype_takes_its_bytes_and_comes_back(self) -> None:
        for n in (0, 1, 127, 128, 129, 70_001):
            delta = random_delta(n)
            sizes = {"f32": 4 * n, "f16": 2 * n, "nf4": -(-n // 2) + 2 * -(-n // 128)}
            for dtype, size in sizes.items():
                arrays, residual = encode_delta(delta, dtype)
                self.assertEqual(sum(array.nbytes for array in arrays.values()), size)
                decoded = decode_delta(arrays, dtype, n)
                self.assertEqual(decoded.dtype, np.float32)
                if residual is None:
                    np.testing.assert_array_equal(decoded, delta)
                else:
                    np.testing.assert_array_equal(residual, delta - decoded)

    def test_scales_are_rounded_up_so_that_no_value_passes_one(self) -> None:
        delta = random_delta(128 * 500, 3)
        scales = encode_delta(delta, "nf4")[0]["scales"]
        largest = np.abs(delta.reshape(-1, 128)).max(axis=1)
        self.assertTrue((scales >= largest).all())
        below = (scales.view(np.uint16) - 1).view(np.float16)
        self.assertTrue((below < largest).all(), "and no further than to the next half")

    def test_codes_are_the_nearest(self) -> None:
        arrays, residual = encode_delta(random_delta(12_800, 5), "nf4")
        # The widest gap is between -1 and -0.696.
        steps = np.abs(residual.reshape(-1, 128)) / arrays["scales"].astype(np.float32)[:, None]
        self.assertLessEqual(steps.max(), (1 - 0.6961928) / 2 + 1e-6)

    def test_values_beyond_a_half_are_clamped_and_stay_in_the_residual(self) -> None:
        delta = np.array([3e38, -70_000, 65_519, 1], dtype=np.float32)
        arrays, residual = encode_delta(delta, "f16")
        self.assertEqual(arrays["delta"].tolist(), [65_504, -65_504, 65_504, 1])
        np.testing.assert_array_equal(residual, delta - arrays["delta"].astype(np.float32))
        arrays, residual = encode_delta(delta, "nf4")
        self.assertEqual(float(arrays["scales"][0]), 65_504)
        self.assertEqual(residual[3], 1)

    def test_the_mean_of_50_rounds_is_the_delta(self) -> None:
        delta = random_delta(1000, 7)
        for dtype in ("f16", "nf4"):
            total, residual = np.zeros(1000), None
            for _ in range(50):
                arrays, residual = encode_delta(delta, dtype, residual)
                total += decode_delta(arrays, dtype, 1000)
            alone = np.abs(decode_delta(encode_delta(delta, dtype)[0], dtype, 1000) - delta).max()
            self.assertLess(np.abs(total / 50 - delta).max(), alone / 20)

    def test_what_cannot_be_encoded_is_refused(self) -> None:
        for dtype in ("f32", "f16", "nf4"):
            for value in (np.nan, np.inf):
                with self.assertRaisesRegex(ValueError, "not finite"):
                    encode_delta(np.array([0, value], dtype=np.float32), dtype)
            with self.assertRaisesRegex(ValueError, "not finite"):
                encode_delta(np.full(1, 3e38, np.float32), dtype, np.full(1, 3e38, np.float32))
        with self.assertRaisesRegex(ValueError, "residual has 3 values"):
            encode_delta(np.zeros(2, np.float32), "f16", np.zeros(3, np.float32))
        with self.assertRaisesRegex(ValueError, "float64"):
            encode_delta(np.zeros(2), "f16")
        with self.assertRaisesRegex(ValueError, "'int4'"):
            encode_delta(np.zeros(2, np.float32), "int4")


class Decoding(unittest.TestCase):
    def test_what_a_client_sends_is_held_to_its_dtype_and_length(self) -> None:
        halves = np.zeros(2, np.float16)
        nf4 = {"delta": np.zeros(65, np.uint8), "scales": np.zeros(2, np.float16)}
        wrong = [
            ({"delta": np.zeros(4, np.float64)}, "f32", 4, "float64 .* instead of float32"),
            ({"delta": np.zeros(5, np.float32)}, "f32", 4, r"\[5\] instead of float32 \[4\]"),
            ({"delta": np.zeros((2, 2), np.float32)}, "f32", 4, r"\[2, 2\]"),
            ({"delta": np.array([0, np.nan], np.float32)}, "f32", 2, "not finite"),
            ({"delta": np.array([0, np.inf], np.float16)}, "f16", 2, "not finite"),
            ({"delta": halves, "more": halves}, "f16", 2, r"came with \['delta', 'more'\]"),
            ({"Delta": halves}, "f16", 2, r"came with \['Delta'\]"),
            ({}, "f32", 2, r"came with \[\]"),
            (nf4, "nf4", 131, r"uint8 \[65\] instead of uint8 \[66\]"),
            (
                nf4 | {"scales": np.array([1, np.inf], np.float16)},
                "nf4",
                130,
                "'scales' has values that are not",
            ),
            (nf4 | {"scales": np.array([1, -1], np.float16)}, "nf4", 130, "below 0"),
            (nf4 | {"scales": np.zeros(1, np.float16)}, "nf4", 130, r"float16 \[1\]"),
            ({"delta": halves}, "f8", 2, "'f8'"),
        ]
        for arrays, dtype, n, text in wrong:
            with self.assertRaisesRegex(ValueError, text):
                decode_delta(arrays, dtype, n)
        self.assertEqual(decode_delta(nf4, "nf4", 130).shape, (130,))

    def test_every_mutation_is_refused_or_decoded(self) -> None:
        """1,000 seeded mutations of bytes, shapes, dtypes and names: nothing else than a ValueError comes of
        them.
        """
        random = np.random.default_rng(11)
        outcomes = {"decoded": 0, "refused": 0}
        for _ in range(1000):
            dtype = random.choice(["f32", "f16", "nf4"])
            arrays, _ = encode_delta(random_delta(300), dtype)
            name = random.choice(list(arrays))
            array = arrays[name]
            match random.integers(4):
                case 0:
                    raw = bytearray(array.tobytes())
                    raw[random.integers(len(raw))] = random.integers(256)
                    arrays[name] = np.frombuffer(bytes(raw), array.dtype)
                case 1:
                    arrays[name] = array[: random.integers(array.size)]
                case 2:
                    arrays[name] = array.astype(random.choice([np.float16, np.float32, np.uint8, np.int64]))
                case 3:
                    arrays[str(random.integers(3))] = arrays.pop(name)
            try:
                decoded = decode_delta(arrays, str(dtype), 300)
                self.assertTrue(decoded.shape == (300,) and np.isfinite(decoded).all())
                outcomes["decoded"] += 1
            except ValueError:
                outcomes["refused"] += 1
        self.assertGreater(min(outcomes.values()), 100)


if __name__ == "__main__":
    unittest.main()
