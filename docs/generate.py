"""docs/protocol.md, made from wire/messages.py: its docstrings, fields and bounds; and docs/files.md (``files_page``).

``python3 docs/generate.py`` writes them; tests/wire/test_document.py says when that was forgotten.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import sys
import tokenize
import typing
from pathlib import Path

if __name__ == "__main__":  # run as a script from anywhere, the packages are beside docs/
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wire import calls, kinds, messages
from wire.kinds import Octets, Text, Whole
from wire.messages import Message

PAGE = Path(__file__).resolve().parent / "protocol.md"

HEAD = f"""\
<!-- Made by docs/generate.py from wire/messages.py: change that, then run it again. -->
# The protocol

Version {messages.PROTOCOL}; the oldest still spoken is {messages.OLDEST_PROTOCOL}.

{{about}}

**Frames.** A control frame is at most {kinds.CONTROL_FRAME:,} octets, one of a data link {kinds.DATA_FRAME:,}, the
first frame of a link {kinds.FIRST_FRAME:,}, each without its length word. A longer length word ends the link before
anything is kept for it.

**Values.** Integers, booleans, strings (UTF-8 without NUL), octets (msgpack `bin`) and arrays; no maps, floats or
extensions. A part is an array of its fields without a tag. Trailing fields may be missing when they have a default, and
unknown ones are ignored, in messages and in parts alike. Everything else that is not as stated here (an unknown tag, a
value outside its bound, a boolean where an integer belongs) ends the link, with a Goodbye that says what was wrong.

**Versions.** The side that dials sends Hello with the version it speaks and the oldest it still knows. The answer is
Welcome with the lower of both versions, or Goodbye with a sentence that says which side is older and what to do.

**Calls.** Each side numbers its own questions from 1, ascending. Every question has one answer, the message named with
it or Failure; answers may come in any order. An answer to what was not asked ends the link.
"""


def page() -> str:
    """The whole page."""
    source = inspect.getsource(messages)
    sections = _sections(source)
    out = [HEAD.format(about=inspect.getdoc(messages))]
    for title, names in sections:
        out.append(f"\n## {title}\n")
        out.extend(_entry(getattr(messages, name)) for name in names)
    out.append("\n## Numbers\n")
    for enum in (messages.LinkKind, messages.Proto, messages.ChannelKind):
        values = ", ".join(f"{member.name} = {member.value}" for member in enum)
        out.append(f"**{enum.__name__}.** {inspect.getdoc(enum)} {values}.\n")
    return "\n".join(out)


def _sections(source: str) -> list[tuple[str, list[str]]]:
    """The file's own sections ("# --- title ---") and the classes below each."""
    sections: list[tuple[str, list[str]]] = []
    for line in source.splitlines():
        if line.startswith("# --- "):
            title = line.strip("# -")
            sections.append((title[0].upper() + title[1:], []))
        elif line.startswith("class ") and sections:
            sections[-1][1].append(line.removeprefix("class ").split("(")[0].rstrip(":"))
    return sections


def _entry(cls: type[typing.Any]) -> str:
    tag = cls.TAG if issubclass(cls, Message) else 0
    out = [f"### {cls.__name__}" + (f" ({tag})" if tag else ""), "", inspect.getdoc(cls) or "", ""]
    if issubclass(cls, Message) and cls in calls.ANSWER:
        out[2] += f"\n\nAnswered with {calls.ANSWER[cls].__name__} or Failure."
    hints = typing.get_type_hints(cls, include_extras=True)
    comments = _comments(cls)
    out += ["| field | value | if missing |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        said = f"; {comments[field.name]}" if field.name in comments else ""
        default = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        out.append(f"| {field.name} | {_words(hints[field.name])}{said} | {default} |")
    return "\n".join([*out, ""])


def _words(hint: typing.Any) -> str:
    if typing.get_origin(hint) is typing.Annotated:
        match hint.__metadata__[0]:
            case Whole(low, high):
                return f"integer, {low:,} to {high:,}"
            case Text(limit, prose):
                return f"{'sentence' if prose else 'string'} of at most {limit:,} octets"
            case Octets(_, lengths) if lengths:
                return f"{' or '.join(map(str, lengths))} octets"
            case Octets(limit):
                return f"at most {limit:,} octets"
    if typing.get_origin(hint) is tuple:
        return f"array of: {_words(typing.get_args(hint)[0])}"
    return "boolean" if hint is bool else f"[{hint.__name__}](#{hint.__name__.lower()})"


def _comments(cls: type[typing.Any]) -> dict[str, str]:
    """What the source says beside a field."""
    found: dict[str, str] = {}
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(cls)).readline):
        if token.type == tokenize.COMMENT:
            found[name] = token.string.lstrip("# ")
        elif token.type == tokenize.NAME and token.line.lstrip().startswith(f"{token.string}:"):
            name = token.string
    return found


if __name__ == "__main__":
    from docs import files_page

    PAGE.write_text(page(), encoding="utf-8")
    files_page.PAGE.write_text(files_page.page(), encoding="utf-8")
