"""A template is a stranger's program: it ends in time, and fills no memory, whatever it tries."""

import threading
import time

import pytest

from studio.data.messages import Message
from studio.data.meter import LONGEST_TEXT, Meter, TooLarge
from studio.data.sandbox import Sandbox, run_template
from studio.errors import TemplateError
from studio.text.template import ChatTemplate

TALK = (Message("user", "question"), Message("assistant", "answer"))
# Each of these would take minutes, or for ever.
ENDLESS = {
    "nested loops": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    ),
    "a loop that lets nothing through": (
        "{% for a in range(9999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}"
    ),
    "a macro that calls itself twice": (
        "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{{ f(n - 2) }}{% endif %}{% endmacro %}"
        "{{ f(60) }}"
    ),
    "call blocks": (
        "{% macro f() %}{% for i in range(99999) %}{{ caller() }}{% endfor %}{% endmacro %}"
        "{% for i in range(9999) %}{% call f() %}{% endcall %}{% endfor %}"
    ),
    "a recursive loop": (
        "{% for a in range(40) recursive %}{% if loop.depth < 40 %}{{ loop(range(40)) }}{% endif %}"
        "{% endfor %}"
    ),
    "an endless generator": "{{ [1] | slice(10 ** 12) | list }}",
    "sorting again and again": "{% for i in range(99999) %}{{ range(9999) | sort }}{% endfor %}",
    "sorting without a loop": "{% set x = range(99999) | sort %}" * 500,
    "searching without a loop": "{% set b = 'x' * 19000000 %}" + "{{ 'ab' in b }}" * 2000,
    "searching in one expression": (
        "{% set b = 'x' * 19000000 %}{{ [" + "'ab' in b, " * 2000 + "] | length }}"
    ),
    "groups": (
        "{% for i in range(9999) %}{% set x = range(9999) | groupby('real') | list %}{% endfor %}"
    ),
    "calls": (
        "{% set c = cycler(1, 2) %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% set x = c.next() %}{% endfor %}{% endfor %}"
    ),
}
GROWING = "{{% set ns = namespace(x={start}) %}}{{% for i in range(99) %}}{step}{{% endfor %}}{end}"
# Each of these would take gigabytes.
LARGE = {
    "a text twice": GROWING.format(start="'ab'", step="{% set ns.x = ns.x + ns.x %}", end=""),
    "a text joined to itself": GROWING.format(
        start="'ab'", step="{% set ns.x = ns.x ~ ns.x %}", end=""
    ),
    "a list twice": GROWING.format(start="[1]", step="{% set ns.x = ns.x + ns.x %}", end=""),
    "a list of itself twice": GROWING.format(
        start="1", step="{% set ns.x = [ns.x, ns.x] %}", end="{{ ns.x }}"
    ),
    "a pair of itself twice": GROWING.format(
        start="1", step="{% set ns.x = (ns.x, ns.x) %}", end="{{ ns.x == ns.x }}"
    ),
    "an object of itself twice": GROWING.format(
        start="1", step="{% set ns.x = {'a': ns.x, 'b': ns.x} %}", end="{{ ns.x }}"
    ),
    "dict() of itself twice": GROWING.format(
        start="1", step="{% set ns.x = dict(a=ns.x, b=ns.x) %}", end="{{ ns.x }}"
    ),
    "a square number": GROWING.format(start="9", step="{% set ns.x = ns.x * ns.x %}", end=""),
    "many keys of one list": "{{ dict.fromkeys(range(99999), messages | list * 99999) | string }}",
    "times": "{{ 'x' * 10 ** 12 }}",
    "a list times": "{{ [messages] * 10 ** 12 }}",
    "bytes times": "{{ 'x'.encode() * 10 ** 12 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "a small power": "{{ 2 ** -(10 ** 9) }}",
    "number to bytes": "{{ (5).to_bytes(10 ** 10, 'big') }}",
    "center": "{{ 'x'.center(10 ** 12) }}",
    "the filter center": "{{ 'x' | center(10 ** 12) }}",
    "ljust": "{{ 'x'.ljust(10 ** 12) }}",
    "zfill": "{{ 'x'.zfill(10 ** 12) }}",
    "a width": "{{ '%099999999999d' % 1 }}",
    "a width as argument": "{{ '%*d' % (10 ** 10, 1) }}",
    "a width in the filter format": "{{ '%99999999999d' | format(1) }}",
    "a width in format": "{{ '{:>99999999999}'.format(1) }}",
    "a width that format is given": "{{ '{:>{w}}'.format(1, w=10 ** 11) }}",
    "a width in format_map": "{{ '{a:>99999999999}'.format_map({'a': 1}) }}",
    "many fields": "{{ ('{0}' * 100000).format('x' * 1000000) }}",
    "replace": "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
    "replace nothing": "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
    "the filter replace": "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
    "join": "{{ ('x' * 1000000).join('y' * 1000) }}",
    "the filter join": "{{ range(99999) | join('y' * 1000000) }}",
    "map": "{{ range(99999) | map('string') | map('center', 1000000) | list | length }}",
    "tabs": "{{ ('\\t' * 1000).expandtabs(10 ** 9) }}",
    "translate": "{{ ('a' * 1000000).translate({97: 'x' * 100000}) }}",
    "indent": "{{ ('\\n' * 100000) | indent(10 ** 6) }}",
    "indent of JSON": "{{ messages | tojson(indent=10 ** 9) }}",
    "batch": "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "sum of lists": "{{ ([[1] * 1000] * 1000) | sum(start=[]) }}",
    "round": "{{ 5 | round(-(10 ** 9)) }}",
    "output": "{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}",
    "a block": (
        "{% set b = 'x' * 9999999 %}{% set y %}{% for i in range(99999) %}{{ b }}{% endfor %}"
        "{% endset %}"
    ),
    "a macro's text": (
        "{% set b = 'x' * 9999999 %}{% macro m() %}{% for i in range(99999) %}{{ b }}{% endfor %}"
        "{% endmacro %}{{ m() | length }}"
    ),
    "a filter block": (
        "{% filter upper %}{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}{% endfilter %}"
    ),
    "many large texts": "".join(f"{{% set a{i} = 'x' * 19000000 %}}" for i in range(99)),
    "slow filters": "{{ ('<a>' * 1000000) | striptags }}",
    "slow codecs": "{{ ('é' * 1000000).encode('punycode') }}",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_without_end_ends_in_time(name: str):
    template = ChatTemplate(ENDLESS[name], "test")
    start = time.monotonic()

    with pytest.raises(TemplateError) as caught:
        template.render(TALK, seconds=0.1)

    assert caught.value.code == "template_too_slow"
    assert "takes longer than 0.1 seconds" in caught.value.message
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("name", LARGE)
def test_what_would_fill_the_memory_is_refused_before_it_is_made(name: str):
    start = time.monotonic()

    with pytest.raises(TemplateError) as caught:
        ChatTemplate(LARGE[name], "test").render(TALK)

    assert caught.value.code == "template_render", caught.value.message
    assert time.monotonic() - start < 10


def test_the_default_is_two_seconds_and_the_line_is_told():
    with pytest.raises(TemplateError) as caught:
        ChatTemplate("\n\n" + ENDLESS["nested loops"], "mine").render(TALK)
    assert "(mine, line 3) takes longer than 2 seconds" in caught.value.message


def test_a_thread_ends_in_time_too():
    codes: list[str] = []

    def work() -> None:
        try:
            ChatTemplate(ENDLESS["nested loops"], "test").render(TALK, seconds=0.1)
        except TemplateError as error:
            codes.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert codes == ["template_too_slow"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ namespace(_x=1) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ lipsum() }}",
        "{% include 'x' %}",
    ],
)
def test_nothing_of_python_is_reached(source: str):
    with pytest.raises(TemplateError):
        ChatTemplate(source, "test").render(TALK)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 'a' + 'b' ~ 1 }}", "ab1"),
        ("{{ ['a', 1] + [2] }}", "['a', 1, 2]"),
        ("{{ 'x' * 3 }} {{ [1] * 2 }} {{ 2 ** 8 }} {{ 7 % 4 }} {{ '%03d' % 7 }}",
         "xxx [1, 1] 256 3 007"),
        ("{{ 'a-b'.replace('-', '+') }} {{ 'ab' | replace('b', 'c') }}", "a+b ac"),
        ("{{ '{:>4}|{a}'.format(1, a=2) }} {{ '%5s' | format('x') }}", "   1|2     x"),
        ("{{ ['a', 'b'] | join(', ') }} {{ ', '.join(['a', 'b']) }}", "a, b a, b"),
        ("{{ messages | map(attribute='role') | join('|') }}", "user|assistant"),
        ("{{ messages | join('|', attribute='role') }}", "user|assistant"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ messages[1:] | length }} {{ messages[::-1][0].role }}", "1 assistant"),
        ("{{ 'x' | center(5) }}|{{ 'x'.ljust(3) }}|{{ 'a\nb' | indent(2) }}", "  x  |x  |a\n  b"),
        ("{{ range(3) | list }} {{ [3, 1] | sort }} {{ {'a': 1} | items | list }}",
         "[0, 1, 2] [1, 3] [('a', 1)]"),
        ("{{ dict(a=1) | tojson }} {{ {'a': [1]} | tojson(indent=1) }}",
         '{"a": 1} {\n "a": [\n  1\n ]\n}'),
        ("[{{ messages[0].__class__ }}{{ '{0.__class__}'.format(1) }}]", "[]"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ("{% for m in messages if m.role == 'user' %}{{ loop.length }}{% endfor %}", "1"),
        ("{% for x in [] %}{% else %}none{% endfor %}", "none"),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}", "1213"),
        ("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
         "123"),
        ("{% set a, b = 1, 2 %}{{ a + b }}", "3"),
        ("{{ 1 in [1, 2] and 'a' not in 'xyz' and (1, 2) == (1, 2) and 1 < 2 < 3 }}", "True"),
        ("{{ 5.5 | round | int }} {{ 'é' | upper }} {{ 'x'.encode('utf-8') }}", "6 É b'x'"),
        ("{% filter upper %}a{{ 'b' }}{% endfilter %}{% set c %}d{% endset %}{{ c }}", "ABd"),
        ("{{ [1, 2, 3] | sum }} {{ [1, 2, 3] | batch(2, 0) | list }}", "6 [[1, 2], [3, 0]]"),
    ],
)  # fmt: skip
def test_what_templates_are_written_with_works_as_ever(source: str, text: str):
    assert ChatTemplate(source, "test").render(TALK).text == text


def test_a_text_just_under_the_limit_is_written():
    text, _ = run_template(Sandbox().from_string("{{ 'x' * n }}"), {"n": LONGEST_TEXT})
    assert len(text) == LONGEST_TEXT
    with pytest.raises(TooLarge):
        run_template(Sandbox().from_string("{{ 'x' * n }}"), {"n": LONGEST_TEXT + 1})


def test_a_value_weighs_what_writing_it_out_would_take():
    meter, inner = Meter(), ["ab", 1]
    assert meter.weight(inner) == 1 + 3 + 1
    assert meter.weight([inner, inner]) == 1 + 2 * 5
    assert meter.weight({"k": inner}) == 1 + 2 + 5


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deep"),
        ("{% if a %}" * 300 + "{% endif %}" * 300, "nested too deep"),
        ("{% for a in b %}" * 30 + "{% endfor %}" * 30, "nested too deep"),
        ("x" * 100_001, "100,001 characters long, of 100,000 allowed"),
        ("{{ 1 | nothing }}", "No filter named 'nothing'"),
        ("{% endfor %}", "Encountered unknown tag"),
        ("{{ '", "unexpected char"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_compiled_is_a_syntax_error(source: str, reason: str):
    with pytest.raises(TemplateError) as caught:
        ChatTemplate(source, "test").render(TALK)
    assert (caught.value.code, reason in caught.value.message) == ("template_syntax", True)
