"""A Flower node in Python that needs no more than the paths the proxy lets through.

`flower-supernode` fetches the app from the server (`get-fab`) and runs what comes. The proxy does not pass
that path, and a person who takes part should run what they installed; so this speaks the Fleet API itself,
by Flower's own client.
"""

import threading
import time
from collections.abc import Callable
from logging import INFO, WARNING
from types import TracebackType
from typing import Self

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Error, Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore import log
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

MAX_OBJECTS = 4096
HEARTBEAT_SECONDS = 30.0
POLL_SECONDS = 3.0
LONGEST_PAUSE = 30.0
# Flower leaves the codes of an app's own errors to the app.
REFUSED = 1000

Handler = Callable[[Message], Message]


class FleetNode:
    """A node with an identity, from `with` on until the end of its block."""

    def __init__(
        self, base_url: str, key: ec.EllipticCurvePrivateKey, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """`key` is of the curve P-384, as Flower's are."""
        self._pem = public_key_to_bytes(key.public_key())
        self._client = FleetHttpClient(
            base_url, interceptors=[NodeAuthHttpInterceptor(key, key.public_key())]
        )
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self.node_id = 0

    def __enter__(self) -> Self:
        """Joins. Raises httpx.HTTPError where the server does not let this key in."""
        deadline = time.monotonic() + 3 * HEARTBEAT_SECONDS
        while not self.node_id:
            try:
                self._join()
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise
                # Among others so where a run before did not leave, until the server has missed its
                # heartbeats.
                log(INFO, "not joined yet (%s); trying again", told(error))
                self._stopped.wait(self._poll_seconds)
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._heart.join()
        try:
            self._client.DeactivateNode(DeactivateNodeRequest(node_id=self.node_id))
        except httpx.HTTPError:
            log(INFO, "the server could not be told that node %d leaves", self.node_id)
        self._client.close()

    def stop(self) -> None:
        """Ends `serve` and the heartbeats."""
        self._stopped.set()

    def serve(self, handle: Handler) -> None:
        """Answers messages one after another until `stop`; joins anew where the server was away or has
        forgotten.
        """
        pause = self._poll_seconds
        while not self._stopped.is_set():
            try:
                if not self._serve_one(handle):
                    self._stopped.wait(self._poll_seconds)
                pause = self._poll_seconds
            except (httpx.HTTPError, ObjectPullError, ObjectPushError) as error:
                log(WARNING, "the server did not do as asked (%s); trying again in %g s", told(error), pause)
                self._stopped.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                self._join_again()

    def _join(self) -> None:
        """Registers and activates. A key that is registered already, by a run before or by the operator, is
        activated; one that is active already, as after a restart of the server alone, stays so. Raises
        httpx.HTTPError.
        """
        try:
            self._client.RegisterNode(RegisterNodeFleetRequest(public_key=self._pem))
        except httpx.HTTPStatusError as error:
            if not 400 <= error.response.status_code < 500:
                raise
        request = ActivateNodeRequest(public_key=self._pem, heartbeat_interval=HEARTBEAT_SECONDS)
        try:
            self.node_id = self._client.ActivateNode(request).node_id
        except httpx.HTTPStatusError:
            if not self.node_id:
                raise

    def _join_again(self) -> None:
        try:
            self._join()
        except httpx.HTTPError:
            log(INFO, "the server is not there yet")

    def _node(self) -> Node:
        return Node(node_id=self.node_id)

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS / 3):
            try:
                request = SendNodeHeartbeatRequest(node=self._node(), heartbeat_interval=HEARTBEAT_SECONDS)
                self._client.SendNodeHeartbeat(request)
            except httpx.HTTPError as error:
                log(INFO, "a heartbeat did not arrive (%s)", told(error))

    def _serve_one(self, handle: Handler) -> bool:
        """Pulls, answers and pushes one message; whether there was one."""
        pulled = self._client.PullMessages(PullMessagesRequest(node=self._node()))
        if not pulled.messages_list:
            return False
        head = message_from_proto(pulled.messages_list[0])
        message = self._fetch(head, pulled.message_object_trees[0])
        began = time.monotonic()
        try:
            reply = handle(message)
        except Exception as error:  # Whatever goes wrong in a round is the round's failure, not the node's.
            log(WARNING, "refused %s: %s", message.metadata.message_type, error)
            code = getattr(error, "code", "round-failed")
            reply = Message(Error(REFUSED, f"tabtune: {code}: {error}"), reply_to=message)
        self._push(reply, time.monotonic() - began)
        return True

    def _fetch(self, head: Message, tree: ObjectTree) -> Message:
        run_id, message_id = head.metadata.run_id, head.metadata.message_id
        ids = list({item.object_id for item in iterate_object_tree(tree)})
        if len(ids) > MAX_OBJECTS:
            raise httpx.DecodingError(f"a message of {len(ids)} objects; {MAX_OBJECTS} are the most")
        contents = pull_objects(
            ids, make_pull_object_fn_protobuf(self._client.PullObject, self._node(), run_id)
        )
        confirm = make_confirm_message_received_fn_protobuf(
            self._client.ConfirmMessageReceived, self._node(), run_id
        )
        confirm(message_id)
        message = inflate_object_from_contents(message_id, contents)
        message.metadata.__dict__["_message_id"] = message_id
        return message

    def _push(self, reply: Message, seconds: float) -> None:
        run_id = reply.metadata.run_id
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            head = remove_content_from_message(reply) if reply.has_content() else reply
            pushed = self._client.PushMessages(
                PushMessagesRequest(
                    node=self._node(),
                    messages_list=[message_to_proto(head)],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[seconds],
                )
            )
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(
                    self._client.PushObject, self._node(), run_id, pushed.session_id
                ),
                object_ids_to_push=set(pushed.objects_to_push),
            )


def told(error: Exception) -> str:
    """What the server said, where it said something."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {error.response.text[:200]}"
    return str(error)[:200] or type(error).__name__
