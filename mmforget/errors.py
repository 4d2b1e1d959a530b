"""What users can get wrong. Every message says what was wrong, the value, what is allowed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """The user's input is wrong: the command line prints the message alone and exits with status 2."""


class UnknownName(UserError):
    """A task, method, metric, attack, model or flag value that does not exist."""

    def __init__(self, kind: str, *, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(map(str, known))
        super().__init__(f"unknown {kind} '{name}'{_suggestion(name, self.known)}")


class BadData(UserError):
    """Rows that cannot be used: a missing file, a truncated image, an empty answer. Names every row at fault."""

    def __init__(self, source: str, *, faults: Sequence[str], limit: int = 20) -> None:
        self.source, self.faults = source, tuple(faults)
        shown = [f"  - {cut(fault)}" for fault in self.faults[:limit]]
        if len(self.faults) > limit:
            shown.append(f"  - and {len(self.faults) - limit} more")
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__("\n".join([f"{source}: {len(self.faults)} {noun}", *shown]))


class PluginError(UserError):
    """A plugin that cannot be imported or registered; the others keep working."""


class AttackRefused(UserError):
    """An attack that cannot be made on this model or data; the message begins with which one."""

    def __init__(self, attack: str, why: str) -> None:
        self.attack = attack
        super().__init__(f"attack '{attack}': {why}")


class MissingReference(UserError):
    """A number was asked for that needs a retain model, a target model or reference log-probs that are not there."""


class NothingToRun(UserError):
    """All tasks that were named are left out: nothing can be asked of the rows there are."""


class RunFailed(Exception):
    """The run itself failed although the input was right: the command line exits with status 1."""


def is_fault(error: BaseException) -> bool:
    """Whether an error came of what was computed: any Exception, or a panic of Rust code, which is none; not Ctrl-C."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def one_line(error: BaseException) -> str:
    """What an exception of a library says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: str) -> str:
    """Text of a stranger for a terminal: what would steer it, or cannot be written to it, is a replacement mark.

    Line breaks and tabs stay; escape sequences, other control characters and lone surrogates do not.
    """
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def cut(text: str, *, limit: int = 1_000) -> str:
    """A text of at most `limit` characters for a message; what is left out of a longer one is counted."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit:,} characters more)"


def shortened(value: object, *, limit: int = 80) -> str:
    """The `repr` of a value for a message, cut where it is long."""
    shown = repr(value)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, or `A, B and C`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    if not known:
        return "; there are none"
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"; known: {listed}"
