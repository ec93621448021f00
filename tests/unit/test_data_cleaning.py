"""Each rule mends what it is for, touches nothing else, and twice is the same as once."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio.data.cleaning import RULE_WORDS, RULES, clean_row, clean_text
from studio.errors import DataError

# What each rule changes: rule, text, mended.
MENDED = [
    ("control_characters", "a\x00b\x08\x1b[0mc\ud800\tx\r\ny", "ab[0mc\tx\r\ny"),
    ("mojibake", "le cafÃ© crÃ¨me", "le café crème"),
    ("mojibake", "itâ€™s fine", "it\u2019s fine"),
    ("mojibake", "ÐŸÑ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€", "Привет мир"),
    ("mojibake", "good line “quoted”\nfirstÂ saw", "good line “quoted”\nfirst\u00a0saw"),
    ("zero_width", "zero\u200bwidth\ufeff and\u00adsoft\u2060", "zerowidth andsoft"),
    ("zero_width", "pay\u202eload\u2066x", "payloadx"),
    ("zero_width", "a\u200db hidden\U000e0041\U000e0042", "ab hidden"),
    ("html", "one<br>two<br/>\nthree", "one\ntwo\nthree"),
    ("html", "<p>One &amp; two</p><p>three&nbsp;four</p>", "One & two\n\nthree four"),
    ("html", 'see <a href="https://x.org">here</a> <b>now</b>', "see here now"),
    (
        "html",
        "<div>\n<h2>Title</h2>\n<ul><li>one</li><li>two</li></ul></div>",
        "Title\n\none\n\ntwo",
    ),
    ("html", "<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
    ("html", "x <!-- note --> y &#39;z&#x27; &lt;5", "x  y 'z' <5"),
    ("html", "double &amp;quot;escaped&amp;quot;", 'double "escaped"'),
    ("personal_data", "ask ada@post.org or +49 170 1234567", "ask [EMAIL] or [PHONE]"),
    ("whitespace", " \n a  \nb\t\n\n\n\n\n\nc \n", "a\nb\n\n\nc"),
]
# What each rule must leave as it is.
KEPT = [
    ("control_characters", "tab\t line\r\n émoji 😀 \u200b"),
    ("mojibake", "naïve café – “quotes” ﬁ ｆｕｌｌ １２ … Ünïcödé 10³ ½ e\u0301"),
    ("mojibake", "Привет, мир. 你好。こんにちは。 안녕 شكرا"),
    ("mojibake", "PAÍS São Paulo, Ångström, ÎLE, 5 × 3 ÷ 2"),
    ("mojibake", "&eacute; &amp; \x1b[31m \r\n \u2028"),
    ("zero_width", "نمی\u200cخواهم क्\u200dष 👨\u200d👩\u200d👧 \u200fעברית\u200e"),
    ("zero_width", "ภาษา\u200bไทย ភាសា\u200bខ្មែរ"),
    ("zero_width", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),
    ("html", "if (a < b && c > d) return List<String>; vector<map<int>> x; a<b>c"),
    ("html", "```html\n<p>x</p> &amp;\n``` and `<br>`"),
    ("html", "write &lt;br&gt; for a line break, or &lt;p&gt;"),
    ("html", "<s>[INST] x [/INST] y</s> <think>hm</think> <answer>4</answer> <unk>"),
    ("html", "10<sup>5</sup> and H<sub>2</sub>O, R&D, AT&T, Q&A; x&y;"),
    ("html", "<li>one alone, <i> the index, <b> a variable"),
    ("personal_data", "version 1.2.3.4, 1234567890, [EMAIL]"),
    ("whitespace", "a\n\n\nb  c"),
]


@pytest.mark.parametrize(("rule", "text", "mended"), MENDED)
def test_a_rule_mends_what_it_is_for(rule: str, text: str, mended: str):
    assert RULES[rule](text) == mended


@pytest.mark.parametrize(("rule", "text"), KEPT)
def test_a_rule_leaves_everything_else(rule: str, text: str):
    assert RULES[rule](text) == text


PIECES = st.sampled_from(
    [
        *("<b>", "</b>", "<p>", "</p>", "<br>", "<", ">", "&lt;", "&amp;", "&#98;", "&gt;", "`"),
        *("```", "<!--", "-->", "<a href='x'>", "</a>", "\n", "  ", "\t", "\u00a0", "b", "/", "&"),
        *("Ã©", "â€™", "Â", "\u200b", "\u200d", "\u202e", "ا", "ก", "👨", "\x00", "\ud83d"),
        *("ada@post.org", "+49 170 1234567", "4111 1111 1111 1111", "hf_" + "a1" * 16, "1.", "-"),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="&amp;lt;b&amp;gt;x&lt;/b&gt;")
@example(text="<<b>b>x</b></b>")
@example(text="0@0.AA+10000000")
def test_a_rule_applied_twice_changes_nothing_more(rule: str, text: str):
    once = RULES[rule](text)
    assert RULES[rule](once) == once


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "text",
    [" " * 200_000, "<" * 200_000, "<!--" * 50_000, "&" * 200_000, "a@" * 100_000, "1 " * 100_000]
    + ["\n" * 200_000, "<b>" * 60_000, "é" * 200_000, "`" * 200_001, "<a b" * 50_000],
    ids=lambda text: repr(text[:8]),
)
def test_no_text_makes_a_rule_slow(rule: str, text: str):
    started = time.perf_counter()
    RULES[rule](text)
    # Linear work takes 10 to 200 ms here; quadratic work minutes.
    assert time.perf_counter() - started < 5


def test_a_row_is_mended_in_every_text_at_any_depth():
    row = {"id": 7, "messages": [{"role": "user", "content": "a\x00"}], "note": None, "t": "\x08"}
    assert clean_row(row, "control_characters") == {
        "id": 7,
        "messages": [{"role": "user", "content": "a"}],
        "note": None,
        "t": "",
    }


def test_json_kept_in_a_text_stays_json():
    turns = json.dumps([{"role": "user", "content": "say &quot;hi&quot;<br>"}])
    mended = clean_text(turns, "html")
    assert json.loads(mended) == [{"role": "user", "content": 'say "hi"'}]
    # Where nothing in it changes, not a blank does.
    assert clean_text('{ "a":1,"b" : "x"}', "html") == '{ "a":1,"b" : "x"}'
    assert clean_text("[1] &amp; more", "html") == "[1] & more"


def test_every_rule_has_words_for_the_list_of_changes():
    assert RULE_WORDS.keys() == RULES.keys()


def test_an_unknown_rule_is_an_error():
    with pytest.raises(DataError) as caught:
        clean_row({"a": "b"}, "polish")
    assert caught.value.code == "unknown_rule"
