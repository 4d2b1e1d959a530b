"""A judge elsewhere: what is sent, what is tried again, and what ends the run; the server is on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from judged_samples import asked

from mmforget.errors import RunFailed, UserError
from mmforget.judges import reading
from mmforget.judges.naming import judge_from
from mmforget.judges.reading import Turn
from mmforget.judges.remote import Client, remote_judge

CONVERSATION = (Turn("user", "Is it?"),)


class Server:
    """Answers with the statuses of `plan`, one a request, and with `yes` after them."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.plan: list[int] = []
        self.say = "yes"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append({"path": self.path, "key": self.headers["Authorization"], "body": body})
                status = outer.plan.pop(0) if outer.plan else 200
                said = {"choices": [{"message": {"content": outer.say}}]} if status == 200 else {"error": "no"}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    made = Server()
    monkeypatch.setenv("OPENAI_BASE_URL", made.url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setattr(reading, "cache_folder", lambda: tmp_path)
    yield made
    made.http.shutdown()


def client(server: Server) -> Client:
    return Client(f"{server.url}/chat/completions", "toy", wait_s=0.0)


def test_what_is_sent(server: Server) -> None:
    assert client(server)([CONVERSATION]) == ["yes"]
    (request,) = server.requests
    assert (request["path"], request["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert request["body"] == {
        "model": "toy",
        "messages": [{"role": "user", "content": "Is it?"}],
        "temperature": 0,
        "max_tokens": 8,
    }


def test_three_tries(server: Server) -> None:
    server.plan = [500, 429]
    assert client(server)([CONVERSATION]) == ["yes"]
    assert len(server.requests) == 3


def test_what_fails_three_times_has_no_answer_while_others_have(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmforget.judges.remote.NUM_PARALLEL", 1)
    server.plan = [500, 500, 500]
    assert client(server)([CONVERSATION, CONVERSATION]) == [None, "yes"]


def test_a_server_that_answers_nothing_ends_the_run(server: Server) -> None:
    server.plan = [503] * 6
    with pytest.raises(RunFailed, match=r"127.0.0.1 answered none of 2 requests, each tried 3 times"):
        client(server)([CONVERSATION, CONVERSATION])


@pytest.mark.parametrize("status", [401, 404])
def test_what_is_our_fault_is_said_at_once(server: Server, status: int) -> None:
    server.plan = [status]
    with pytest.raises(
        UserError, match=rf"refuses requests \({status} .*check the model's name, \$OPENAI_API_KEY"
    ) as caught:
        client(server)([CONVERSATION])
    assert len(server.requests) == 1
    assert "secret" not in str(caught.value)


def test_it_is_tested_before_it_judges(server: Server) -> None:
    judge = judge_from("remote:toy", local_only=False)
    with pytest.raises(UserError, match="--judge remote:toy gets answers wrong that are beyond doubt"):
        judge.judge([asked("a chair")], label="refusal")
    assert judge.describe()["host"] == "127.0.0.1"
    assert "secret" not in repr(judge) + json.dumps(judge.describe())


def test_no_key_and_addresses_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match=r"needs a key in \$OPENAI_API_KEY"):
        remote_judge("gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert remote_judge("gpt-4o").describe()["host"] == "api.openai.com"
    for address in ("http://example.org/v1", "ftp://example.org", "nothing"):
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        with pytest.raises(UserError, match="give an https:// address"):
            remote_judge("gpt-4o")
