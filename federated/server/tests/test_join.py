import http.server
import json
import tempfile
import threading
import unittest
from pathlib import Path

from support import terms, terms_json
from tabtune_federated.join import fetch_terms, load_key, safe_url, summary
from tabtune_federated.terms import MAX_BYTES, TermsError


class JoinTest(unittest.TestCase):
    def test_addresses(self) -> None:
        for good in (
            "https://learn.example.org/",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:1",
        ):
            self.assertEqual(safe_url(good), good.rstrip("/"))
        self.assertRaisesRegex(ValueError, "needs https", safe_url, "http://learn.example.org")
        self.assertRaisesRegex(ValueError, "no http", safe_url, "ftp://localhost")
        self.assertRaisesRegex(ValueError, "no http", safe_url, "localhost:80")

    def test_a_key_is_made_once_and_is_only_mine(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "keys" / "node.pem"
            first = load_key(path).private_numbers()
            self.assertEqual(load_key(path).private_numbers(), first)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_the_summary_says_what_is_sent(self) -> None:
        open_terms = summary(terms(), "https://x")
        self.assertIn("the server reads it by itself", open_terms)
        self.assertIn("no noise", open_terms)
        privacy = {"mask": True, "clip": 0.5, "noise": "central", "noise_multiplier": 1}
        hidden = summary(terms(privacy=privacy), "https://x")
        for part in (
            "the change of B of a LoRA adapter of rank 2",
            "norm of 0.5",
            "only as a sum",
            "the server adds noise",
        ):
            self.assertIn(part, hidden)

    def test_terms_are_fetched_and_checked(self) -> None:
        bodies = [json.dumps(terms_json()).encode(), b"[", b'"' + bytes(MAX_BYTES + 1), b"{}"]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = bodies[0]
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        self.assertEqual(fetch_terms(url), terms())
        for text in ("federation.json: ", "larger", "is missing"):
            bodies.pop(0)
            self.assertRaisesRegex(TermsError, text, fetch_terms, url)
