"""Whether an answer is the right one: plain functions."""

from dataclasses import dataclass
from typing import Literal

from loadtest.targets import Target


def problem(target: Target, status: int, body: bytes, *, size: int = 0) -> str | None:
    """What is wrong with an answer, in the same words each time; None when it is right.

    Args:
        target: what was asked for.
        status: of the answer.
        body: of the answer, whole.
        size: bytes that were sent; stands for ``{size}`` in the target's ``says``.
    """
    if status != target.status:
        return f"status {status}, expected {target.status}"
    for text in target.says:
        if text.replace("{size}", str(size)).encode() not in body:
            return f"wrong answer: it does not hold {text!r}"
    return None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of one rule: whose answers were right before, and whose are right after it.

    Texts are those of `RuleBackend.says`; None: the host has no rule, so neither backend answers.
    """

    before: str | None
    after: str | None
    at: float
    """Seconds on a clock that never goes back."""
    deadline: float
    """From this moment on only the new rule's answers are right."""


def judge(
    change: Change, sent: float, status: int, body: bytes, texts: tuple[str, str]
) -> Literal["old", "new"] | str:
    """Which rule an answer is by; any other text says what is wrong with it.

    Args:
        change: the last change of the rule.
        sent: when the request was sent.
        status: of the answer.
        body: of the answer.
        texts: what the two backends' answers hold.
    """
    said = next((text for text in texts if text.encode() in body), None)
    if said is not None and status != 200:
        return f"status {status} from a backend"
    if said is None and status not in (200, 404):
        return f"status {status}, expected that of a backend, or of none"
    if said == change.after:
        return "new"
    if said != change.before:
        return f"wrong backend: {said or 'none'}, which is neither the old nor the new one"
    if sent >= change.deadline:
        late = change.deadline - change.at
        return f"the old rule answered more than {late:g} s after the change"
    return "old"
