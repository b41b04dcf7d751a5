import json
import tempfile
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import terms, terms_json, write_terms
from tabtune_federated.terms import TermsError, check_terms, read_terms

EXAMPLE = Path(__file__).parents[2] / "example" / "federation.json"


class TermsTest(unittest.TestCase):
    def test_defaults(self) -> None:
        got = terms()
        self.assertEqual((got.aggregation, got.delta_dtype, got.evaluate), ("fedavg", "f32", True))
        self.assertEqual((got.server_learning_rate, got.round_seconds, got.enrolled), (1.0, 600.0, None))
        self.assertFalse(got.lora.freeze_a)
        self.assertFalse(got.privacy.mask)
        self.assertEqual(terms(aggregation="fedadam").server_learning_rate, 0.01)

    def test_noise_freezes_a_unless_told_otherwise(self) -> None:
        noise = {"clip": 1, "noise": "local", "noise_multiplier": 1}
        self.assertTrue(terms(privacy=noise).lora.freeze_a)
        lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "freeze_a": False}
        self.assertFalse(terms(privacy=noise, lora=lora).lora.freeze_a)

    def test_the_example_is_valid(self) -> None:
        self.assertEqual(read_terms(EXAMPLE).rounds, 3)

    def test_more_names_of_trl_are_allowed(self) -> None:
        self.assertEqual(
            terms(train={"max_steps": 1, "learning_rate": 1, "weight_decay": 0.1}).train["weight_decay"], 0.1
        )

    def pem(self, curve: ec.EllipticCurve) -> str:
        key = ec.derive_private_key(7, curve).public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def test_enrolled_keys_are_told_as_nodes_send_them(self) -> None:
        pem = self.pem(ec.SECP384R1())
        self.assertEqual(terms(enrolled=[f"\n{pem.strip()}  "]).enrolled, (pem,))

    def test_refusals_name_the_field(self) -> None:
        lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
        train = {"max_steps": 1, "learning_rate": 1e-3}
        masked = {"mask": True}
        noisy = {"clip": 1, "noise": "central", "noise_multiplier": 1}
        cases = [
            ({"version": 2}, "version must be a whole number from 1 to 1"),
            ({"name": "x" * 81}, "name must be a text"),
            ({"operator": ""}, "operator"),
            ({"cake": 1}, '"cake" is no field'),
            ({"lora": lora | {"rank": 3}}, '"lora.rank" is no field'),
            ({"lora": lora | {"r": 0}}, "lora.r must be a whole number"),
            ({"lora": lora | {"r": True}}, "lora.r must be a whole number"),
            ({"lora": lora | {"target_modules": []}}, "lora.target_modules"),
            ({"lora": 3}, "lora must be an object"),
            ({"train": {"learning_rate": 1}}, "train.max_steps"),
            ({"train": train | {"learning_rate": float("inf")}}, "train.learning_rate"),
            ({"train": train | {"Bad-Name": 1}}, "train.Bad-Name"),
            ({"train": train | {"betas": [1]}}, "train.betas"),
            ({"rounds": 0}, "rounds"),
            ({"min_clients": 1.5}, "min_clients"),
            ({"aggregation": "mean"}, "aggregation must be one of fedavg, fedadam, flexlora"),
            ({"delta_dtype": "f8"}, "delta_dtype"),
            ({"evaluate": 1}, "evaluate"),
            ({"round_seconds": -1}, "round_seconds"),
            ({"enrolled": "all"}, "enrolled"),
            ({"privacy": {"noise": "central"}}, "privacy.clip is missing"),
            ({"privacy": {"noise": "local", "clip": 1}}, "privacy.noise_multiplier"),
            ({"privacy": {"noise_multiplier": 1}}, "says nothing"),
            ({"enrolled": ["-----BEGIN PUBLIC KEY-----"]}, "public keys as PEM"),
            ({"enrolled": [self.pem(ec.SECP256R1())]}, "the curve P-384"),
            ({"enrolled": [self.pem(ec.SECP384R1())] * 2}, "names a key twice"),
            ({"privacy": {"delta": 0}}, "privacy.delta"),
            ({"privacy": {"masks": True}}, '"privacy.masks" is no field'),
            ({"privacy": masked, "delta_dtype": "f16"}, "delta_dtype"),
            ({"privacy": masked, "min_clients": 1}, "min_clients"),
            ({"privacy": masked, "aggregation": "flexlora"}, "privacy.mask"),
            (
                {"privacy": noisy, "lora": lora | {"freeze_a": False}, "aggregation": "flexlora"},
                "central noise",
            ),
            ({"lora": lora | {"freeze_a": True}, "aggregation": "flexlora"}, "lora.freeze_a"),
            ({"aggregation": "flexlora", "server_learning_rate": 0.5}, "server_learning_rate"),
        ]
        for change, text in cases:
            with self.subTest(change), self.assertRaises(TermsError) as raised:
                check_terms(terms_json(**change))
            self.assertIn(text, str(raised.exception))

    def test_files_that_are_no_terms(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "federation.json"
            self.assertRaisesRegex(TermsError, "cannot be read", read_terms, path)
            for text in ("", "[]", "{", '{"version": 1e999}', "[" * 100_000, '"\ud800"'):
                path.write_bytes(text.encode("utf-8", "surrogatepass"))
                with self.subTest(text[:20]):
                    self.assertRaisesRegex(TermsError, "federation.json: ", read_terms, path)
            path.write_text(json.dumps(terms_json(purpose="x" * (1 << 21))))
            self.assertRaisesRegex(TermsError, "larger", read_terms, path)

    def test_a_digest_tells_terms_apart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first = read_terms(Path(write_terms(Path(folder)))).digest
            second = read_terms(Path(write_terms(Path(folder), rounds=4))).digest
        self.assertEqual(first, terms().digest)
        self.assertNotEqual(first, second)
