"""Lines of answers files, as a server's answers make them."""

from __future__ import annotations

from typing import Any


def completed(content: Any, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    """The line of a chat completion."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return landed({"choices": [{"index": 0, "message": message, "finish_reason": finish}]})


def landed(body: Any, status: int = 200) -> dict[str, Any]:
    """The line of a response, whatever it holds."""
    return {"custom_id": "test-1-a", "response": {"status_code": status, "body": body}, "error": None}
