"""The page: one file that loads nothing, runs nothing foreign, reads without JavaScript and shows every row."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from fake_runs import examples, family, portrait, record, stored

from mmforget.leaderboard import answers, details, page, plots
from mmforget.leaderboard.board import boards
from mmforget.results import cannot_tell
from mmforget.results.schema import AnswerExample

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>\"'><img src=http://evil.example/x.png onerror=alert(2)>"


class Reader(HTMLParser):
    """Collects tags, the places they point to, and the text people see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.seen = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.seen += data


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(boards(stored(family())), generated="2026-11-21T00:00:00+00:00")


def test_the_page_loads_nothing(html: str) -> None:
    reader = Reader(html)
    assert all(link.startswith(("#", "data:image/png;base64,", "data:,")) for link in reader.links)
    assert "@import" not in html
    assert "url(" not in html
    assert not set(reader.tags) & {"iframe", "object", "embed", "form", "base"}


def test_the_policy_lets_only_our_own_style_and_script_run(html: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in allowed
    assert allowed.startswith("default-src 'none'")
    assert Reader(html).handlers == []


def test_every_section_is_there_without_javascript(html: str) -> None:
    text = " ".join(Reader(html).seen.split())
    for needed in (
        "grad_diff comes first",
        "ga collapsed (98% of its answers on the forget set are degenerate)",
        "npo_quick is not ranked: only 5 of 28 questions",
        "room between target and retain model",
        "Was there anything to forget?",
        "What the models answer",
        "True answer: a glass blower.",
        "profile released",
        "blank image",
        "same for all models",
        "mmforget run --model micro",
        "commit 0123456789ab",
        "synthetic data, no real people",
        "procedurally drawn stand-ins",
    ):
        assert needed in text, needed


def test_everything_from_a_record_is_escaped() -> None:
    poisoned = AnswerExample(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, "http://evil.example/x.png")
    item = record(EVIL, data={"source": EVIL, "notes": [EVIL]}, examples=(poisoned,), training={"num_steps": EVIL})
    item = item.replace(model_info={"fingerprint": EVIL}, references={"target": EVIL, "retain": EVIL})
    reader = Reader(page.render(boards(stored([item]))))
    assert reader.tags.count("script") == 1
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert reader.handlers == []
    assert EVIL in reader.seen


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        (portrait(10), True),
        ("https://example.org/x.png", False),
        ("data:image/svg+xml;base64,AAAA", False),
        ("data:text/html;base64,AAAA", False),
        ('data:image/png;base64,AAAA" onerror="x', False),
        (None, False),
    ],
)
def test_only_embedded_raster_images_are_shown(uri: str | None, kept: bool) -> None:
    assert (answers.safe_image(uri) is not None) is kept


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("In Kestrel Bay.", "recalled"),
        ("in kestrel bay. in kestrel bay.", "recalled"),
        ("in kestrel bayou.", "different"),
        ("  ", "no answer"),
    ],
)
def test_outcome(text: str, result: str) -> None:
    assert answers.outcome(text, answer="in kestrel bay.") == result


@pytest.mark.parametrize(("text", "result"), [("a a a a", "gibberish"), ("In Kestrel Bay. a a a a", "recalled")])
def test_gibberish_is_called_so_unless_it_begins_with_the_answer(text: str, result: str) -> None:
    assert answers.outcome(text, answer="in kestrel bay.", degenerate=True) == result


@pytest.mark.parametrize(("group", "tone"), [("forget", "warn"), ("utility", "bad")])
def test_gibberish_is_no_success_on_any_set(group: str, tone: str) -> None:
    told = AnswerExample("A", "forget", "?", "x", "a a a a", group=group, degenerate=True)
    (board,) = boards(stored([record("npo", examples=(told,))]))
    (reply,) = answers.subjects(board)[0].questions[0].replies
    assert (reply.outcome, reply.tone) == ("gibberish", tone)


def test_answers_stand_side_by_side() -> None:
    (board,) = boards(stored(family()))
    people = answers.subjects(board)
    assert [(person.name, person.set) for person in people] == [
        ("Mara Quill", "forget"), ("Ivo Tarn", "forget"), ("Nell Osgood", "retain"),
    ]  # fmt: skip
    replies = people[0].questions[0].replies
    assert [reply.model for reply in replies] == ["target", "retain", "grad_diff", "npo", "po", "kl", "ga", "npo_quick"]
    tones = {reply.model: (reply.outcome, reply.tone) for reply in replies}
    assert tones["target"] == ("recalled", "plain")
    assert tones["grad_diff"] == ("different", "good")
    assert tones["npo"] == ("no answer", "warn")
    assert tones["kl"] == ("recalled", "bad")
    assert tones["ga"] == ("different", "plain")
    assert {reply.tone for reply in people[2].questions[0].replies[2:4]} == {"good"}


def test_references_come_from_the_examples_where_no_reference_record_is_there() -> None:
    (board,) = boards(stored([record("npo", examples=examples("npo", forgot=True, collapsed=False))]))
    replies = answers.subjects(board)[0].questions[0].replies
    assert [(reply.model, reply.text) for reply in replies[:2]] == [
        ("target", "a glass blower."),
        ("retain", "a bridge keeper."),
    ]


def test_the_parts_of_the_forget_score_are_shown() -> None:
    """Methods only: target and retain model are where closeness is 0 and 1 by definition."""
    (board,) = boards(stored(family()))
    table = details.closeness_table(board)
    assert "target" not in table.models
    assert [(line.set, line.name) for line in table.lines] == [("forget", "exact_match"), ("forget", "rouge_l")]
    npo = table.lines[1].estimates[table.models.index("npo")]
    assert npo is not None
    assert npo.value == pytest.approx(0.83)
    assert "What the forget score is made of" in page.render([board])


def test_long_answers_are_cut_on_the_page() -> None:
    long = AnswerExample("A", "forget", "?", "x", "y" * 1000, "", "")
    (board,) = boards(stored([record("npo", examples=(long,))]))
    assert len(answers.subjects(board)[0].questions[0].replies[0].text) == answers.MAX_CHARACTERS


def test_a_board_with_nothing_measured_still_renders() -> None:
    bare = record(
        "base", role="base", metrics=(), headline={}, gate=None, verdict=None, examples=(), sets={}, training={}
    )
    html = page.render(boards(stored([bare])))
    assert "Only reference models so far" in html


def test_names_in_the_picture_do_not_cover_one_another() -> None:
    """Six models at almost one point: every name keeps a place of its own inside the frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    runs = [record(f"method_{i}", forget=0.9 + i / 300, utility=0.9 + i / 400) for i in range(6)]
    (board,) = boards(stored(runs))
    figure = Figure(figsize=(7.2, 5.4), dpi=160)
    axes = figure.add_axes((0.095, 0.115, 0.88, 0.78))
    marks = plots._marks(board, plots.LIGHT)
    plots._frame(axes, board, plots.LIGHT)
    renderer = FigureCanvasAgg(figure).get_renderer()
    fixed = len(axes.texts)
    plots._label(axes, marks, plots.LIGHT, renderer=renderer)
    for text in axes.texts[fixed:]:
        text.update_positions(renderer)
    names = [Text.get_window_extent(text, renderer) for text in axes.texts[fixed:]]
    frame = axes.get_window_extent(renderer)
    assert len(names) == 6
    assert [(a, b) for i, a in enumerate(names) for b in names[:i] if a.overlaps(b)] == []
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in names)


def test_the_picture_is_the_same_every_time() -> None:
    (board,) = boards(stored(family()))
    assert plots.forget_vs_utility(board) == plots.forget_vs_utility(board)


def test_a_metric_that_cannot_tell_is_marked_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cannot_tell.Untold("fiubench", "exact_match", "forget", "clean", None, 0.55, 0.45, 0.65)
    monkeypatch.setattr(cannot_tell, "untold", lambda: (found,))
    (board,) = boards(stored(family()))
    (clean, *_) = details.metric_tables(board)
    marked = [(line.name, line.set, line.attack) for line in clean.lines if line.untold]
    assert marked == [("exact_match", "forget", None)]
    text = Reader(page.render([board], generated="2026-11-21T00:00:00+00:00")).seen
    assert "cannot tell who knows from who does not: AUC 0.550 [0.450, 0.650]" in text
