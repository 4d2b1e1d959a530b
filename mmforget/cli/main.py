"""`mmforget VERB ...`: parse, dispatch, and turn what the user got wrong into one clear message."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from mmforget import __version__, parallel
from mmforget.cli.flags import HUGGING_FACE_NAMES
from mmforget.cli.paths import with_home
from mmforget.cli.printing import tell
from mmforget.errors import RunFailed, UserError, cut, printable, shortened
from mmforget.libraries import prepare_libraries

VERBS = (
    "run", "target", "unlearn", "eval", "attack", "distance", "meta", "rescore", "compare", "leaderboard", "ls",
    "validate", "new", "report",
)  # fmt: skip
DISTRIBUTED = ("run", "target", "unlearn", "eval", "attack")
"""Verbs that several processes share; of all others the main process does everything."""
MAX_LINE = 2_000
"""Longest line of a message, in characters."""
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint about an unknown flag names the nearest known one."""

    _words: Sequence[str] = ()
    prepare: Callable[..., Sequence[str]] | None = None
    """Of a verb whose words stand for others: makes all words of those that were typed."""

    def error(self, message: str) -> NoReturn:
        unknown = [word.split("=")[0] for word in self._words if word.startswith("--")]
        unknown = [flag for flag in unknown if flag not in self._option_string_actions]
        if unknown:
            ours = HUGGING_FACE_NAMES.get(unknown[0], "")
            close = [ours] if ours.split()[:1] and ours.split()[0] in self._option_string_actions else []
            close = close or difflib.get_close_matches(unknown[0], self._option_string_actions, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; see '{self.prog} --help'"
            message = f"unknown flag '{unknown[0]}'{hint}"
        self.exit(WRONG_INPUT, printable(f"{self.prog}: error: {message}\n"))

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Verb parsers report their own unknown flags, so that suggestions come from the right set."""
        if args is not None and self.prepare is not None:
            args = self.prepare(args, parser=self)
        self._words = tuple(args) if args is not None and "execute" in self._defaults else ()
        parsed, extra = super().parse_known_args(args, namespace)
        if extra and "execute" in self._defaults:
            self.error("unrecognized arguments: " + " ".join(extra))
        return parsed, extra


def build_parser() -> Parser:
    """The parser with every verb. Imports the verb files, which import nothing heavy."""
    parser = Parser(
        prog="mmforget",
        description="Make multimodal and text models forget, and measure whether they did.",
        epilog="mmforget VERB --help shows a verb's flags and examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mmforget {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for name in VERBS:
        module = importlib.import_module(f"mmforget.cli.{name}")
        verb = verbs.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog="examples:\n" + module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(verb)
        verb.prepare = getattr(module, "prepare", None)
        verb.set_defaults(execute=module.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 the run failed, 2 the input is wrong.

    Of several processes the main one alone prints; where one fails, the first to do so says why and all end.
    """
    prepare_libraries()
    try:
        with _only_main_speaks():
            status = _execute(argv)
            sys.stdout.flush()
    except UserError as error:
        return _failed(WRONG_INPUT, f"mmforget: error: {error}")
    except RunFailed as error:
        return _failed(FAILED, f"mmforget: the run failed: {error}")
    except KeyboardInterrupt:
        return _failed(INTERRUPTED, "\nmmforget: interrupted; the same command continues where it stopped")
    except BrokenPipeError:
        # The reader of our output is gone (`mmforget ls | head`); keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        # What a file system refuses of a path that the user gave: a name too long, a circle of links, no permission.
        if error.filename is None or isinstance(error, ConnectionError):
            raise
        return _failed(WRONG_INPUT, f"mmforget: error: {shortened(str(error.filename))}: {error.strerror}")
    except Exception:
        earlier = parallel.failed_before(FAILED)
        if earlier is None:
            raise
        return earlier
    return status


def _execute(argv: Sequence[str] | None) -> int:
    args = with_home(build_parser().parse_args(argv))
    if args.verb in DISTRIBUTED:
        parallel.start(cpu=args.device == "cpu")
    elif not parallel.is_main_launched():
        return DONE
    status = int(args.execute(args))
    parallel.stop()
    return status


def _failed(status: int, message: str) -> int:
    """Says why, unless another process has; returns the exit status of whoever failed first."""
    earlier = parallel.failed_before(status)
    if earlier is not None:
        return earlier
    tell("\n".join(cut(line, limit=MAX_LINE) for line in message.split("\n")))
    return status


@contextlib.contextmanager
def _only_main_speaks() -> Iterator[None]:
    """Inside, what processes other than the main one print goes nowhere."""
    if parallel.is_main_launched():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    sys.exit(main())
