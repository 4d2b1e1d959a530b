"""A judge elsewhere: any server that speaks OpenAI's chat completions. Opt-in, since answers leave the machine.

The key is read from $OPENAI_API_KEY and the server from $OPENAI_BASE_URL; neither is ever stored.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from mmforget.errors import RunFailed, UserError
from mmforget.judges.reading import MAX_NEW_TOKENS, Conversation, ReadingJudge

KEY, SERVER = "OPENAI_API_KEY", "OPENAI_BASE_URL"
DEFAULT_SERVER = "https://api.openai.com/v1"
NUM_TRIES, WAIT_S, TIMEOUT_S = 3, 2.0, 60.0
NUM_PARALLEL = 8
OUR_FAULT = (400, 401, 403, 404, 422)
"""Statuses that asking again does not mend."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def remote_judge(model: str) -> ReadingJudge:
    """The judge `remote:MODEL`. Raises UserError where no key is set or the server's address cannot be used."""
    server = os.environ.get(SERVER, DEFAULT_SERVER).rstrip("/")
    parts = urlsplit(server)
    host = parts.hostname or ""
    if not host or parts.scheme not in ("https", "http") or (parts.scheme == "http" and host not in LOOPBACK):
        raise UserError(f"${SERVER} is '{server}'; give an https:// address, or http:// on this machine")
    if not os.environ.get(KEY):
        raise UserError(f"--judge remote:{model} needs a key in ${KEY}; set it, or use --judge rules or hf:MODEL")
    return ReadingJudge(
        name=f"remote:{model}",
        model=lambda: f"{server} {model}",
        ask=Client(f"{server}/chat/completions", model),
        facts={"model": model, "host": host},
    )


@dataclass(frozen=True)
class Client:
    """Asks a server, several conversations at a time, each at most three times.

    Args:
        url: of its chat completions.
        wait_s: before the second try, and twice as long before the third.
    """

    url: str
    model: str
    wait_s: float = WAIT_S

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        """What the model says to each; None where three tries failed.

        Raises UserError where the server refuses the request as such, RunFailed where it answers nothing at all.
        """
        if not conversations:
            return []
        with ThreadPoolExecutor(max_workers=NUM_PARALLEL) as pool:
            found = list(pool.map(self._answer, conversations))
        if all(answer is None for answer in found):
            raise RunFailed(
                f"judge {self.model}: {urlsplit(self.url).hostname} answered none of {len(found)} requests, each tried "
                f"{NUM_TRIES} times; run the same command again later, answers so far are kept"
            )
        return found

    def _answer(self, conversation: Conversation) -> str | None:
        for number in range(NUM_TRIES):
            if number:
                time.sleep(self.wait_s * number)
            try:
                return self._asked_once(conversation)
            except urllib.error.HTTPError as error:
                if error.code in OUR_FAULT:
                    raise UserError(
                        f"judge {self.model}: {urlsplit(self.url).hostname} refuses requests ({error.code} "
                        f"{error.reason}); check the model's name, ${KEY} and ${SERVER}"
                    ) from error
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                continue
        return None

    def _asked_once(self, conversation: Conversation) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in conversation],
            "temperature": 0,
            "max_tokens": MAX_NEW_TOKENS,
        }
        headers = {"Authorization": f"Bearer {os.environ.get(KEY, '')}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url, data=json.dumps(body).encode(), headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  (scheme checked above)
            return str(json.load(response)["choices"][0]["message"]["content"])
