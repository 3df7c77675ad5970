"""What a conversation has cost so far, and whether it may cost more."""

from __future__ import annotations

import threading

from gsim_jax.propose.chat_options import ChatOptions
from gsim_jax.propose.chat_record import Reply
from gsim_jax.propose.conversing import Spent


class Budget:
    """Counts tokens and money of the replies that have arrived.

    Nothing is sent once a budget is spent; what is under way then is let finish, so a budget is
    passed by one reply per parallel request at most.
    """

    def __init__(self, options: ChatOptions) -> None:
        """Starts with nothing spent."""
        self._options = options
        self._lock = threading.Lock()
        self._requests = self._prompt = self._completion = 0
        self._counted = True

    def add(self, reply: Reply) -> None:
        """Counts a reply."""
        with self._lock:
            self._requests += 1
            self._prompt += reply.prompt_tokens
            self._completion += reply.completion_tokens
            self._counted &= reply.counted

    def demand(self) -> None:
        """Raises `Spent` where nothing more may be sent."""
        spent = self.spent()
        if self._options.tokens is not None and spent["tokens"] >= self._options.tokens:
            raise Spent("tokens")
        if self._options.money is not None and spent["money"] >= self._options.money:
            raise Spent("money")

    def spent(self) -> dict[str, float]:
        """Requests, tokens and money so far; `estimated` is 1 where a server did not count."""
        with self._lock:
            prompt, completion = self._options.price
            money = (self._prompt * prompt + self._completion * completion) / 1e6
            return {
                "requests": self._requests,
                "prompt_tokens": self._prompt,
                "completion_tokens": self._completion,
                "tokens": self._prompt + self._completion,
                "money": round(money, 6),
                "estimated": int(not self._counted),
            }
