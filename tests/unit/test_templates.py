"""Templates: written once, filled by anybody."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Misconfigured
from services.core.events import Channel
from services.core.identifiers import TypeName
from services.core.templates import Part, RenderError, TemplateName, Templates

HELLO = TypeName("hello")


def email(locale: str = "en", **parts: str) -> dict[TemplateName, str]:
    texts = {"subject": "Hello {{ name }}", "text": "Hello {{ name }}."} | parts
    ends = {"subject": Part.SUBJECT, "text": Part.TEXT, "html": Part.HTML}
    return {
        TemplateName(HELLO, Channel.EMAIL, locale, ends[part]): text for part, text in texts.items()
    }


def sms(text: str) -> Templates:
    return Templates({TemplateName(HELLO, Channel.SMS, "en", Part.TEXT): text})


def rendered(templates: Templates, **data: object) -> str | None:
    try:
        return templates.render(HELLO, Channel.SMS, None, data).text
    except RenderError:
        return None


def refusal(templates: Templates, channel: Channel = Channel.SMS, **data: object) -> RenderError:
    with pytest.raises(RenderError) as refused:
        templates.render(HELLO, channel, "en", data)
    return refused.value


def test_an_email_has_its_subject_text_and_html() -> None:
    templates = Templates(email(html="<p>Hello {{ name }}</p>"))
    content = templates.render(HELLO, Channel.EMAIL, None, {"name": "Ann"})
    assert (content.subject, content.text, content.html) == (
        "Hello Ann",
        "Hello Ann.",
        "<p>Hello Ann</p>",
    )


def test_a_text_message_has_text_alone() -> None:
    content = sms("Code {{ code }}\n").render(HELLO, Channel.SMS, None, {"code": "1"})
    assert (content.text, content.subject, content.html) == ("Code 1", None, None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("de-AT", "de-AT"),
        ("de_at", "de-AT"),
        ("de-CH", "de"),
        ("de", "de"),
        ("fr", "en"),
        (None, "en"),
        ("de-Latn-AT", "de"),
    ],
)
def test_the_nearest_locale_is_taken(wanted: str | None, found: str) -> None:
    sources = {k: v for tag in ("de", "de-AT", "en") for k, v in email(tag, text=tag).items()}
    assert Templates(sources).render(HELLO, Channel.EMAIL, wanted, {"name": "A"}).text == found


def test_without_the_default_locale_any_will_do() -> None:
    templates = Templates(email("fr"))
    assert templates.render(HELLO, Channel.EMAIL, "ja", {"name": "A"}).subject == "Hello A"


def test_parts_of_two_locales_are_never_mixed() -> None:
    lone_subject = {TemplateName(HELLO, Channel.EMAIL, "de", Part.SUBJECT): "Hallo"}
    content = Templates(email() | lone_subject).render(HELLO, Channel.EMAIL, "de", {"name": "A"})
    assert content.subject == "Hello A"


def test_a_channel_without_templates_is_told_from_the_type() -> None:
    assert refusal(sms("x"), Channel.EMAIL).pointer == "#/type"


def test_a_missing_value_is_named() -> None:
    refused = refusal(sms("{{ code }}"))
    assert refused.pointer == "#/data/code"
    assert "hello/sms.en.txt" in refused.detail


def test_a_missing_member_is_named() -> None:
    refused = refusal(sms("{{ order.number }}"), order={})
    assert (refused.pointer, refused.detail.rpartition(": ")[2]) == ("#/data", "number")


@pytest.mark.parametrize("value", ["ann@example.test", "+15550001111"])
def test_a_failure_never_repeats_a_value(value: str) -> None:
    for text in ("{{ {}[v] }}", "{{ v + 1 }}", "{{ v|round }}", "{{ v.nope }}"):
        assert value not in str(refusal(sms(text), v=value))


def test_html_escapes_what_is_put_into_it_and_text_does_not() -> None:
    templates = Templates(email(html="<a title='{{ name }}'>"))
    content = templates.render(HELLO, Channel.EMAIL, "en", {"name": "<b>'&"})
    assert content.html == "<a title='&lt;b&gt;&#x27;&amp;'>"
    assert content.text == "Hello <b>'&."


def test_template_syntax_in_a_value_is_only_text() -> None:
    content = sms("{{ v }}").render(HELLO, Channel.SMS, None, {"v": "{{ 7*7 }}{% raw %}"})
    assert content.text == "{{ 7*7 }}{% raw %}"


@pytest.mark.parametrize("value", ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\tb"])
def test_a_subject_stays_one_line(value: str) -> None:
    assert "hello/email.en.subject.txt" in refusal(
        Templates(email()), Channel.EMAIL, name=value
    ).detail.replace("templates/", "")


@pytest.mark.parametrize("value", ["a\u202ecod.exe", "\u202da"])
def test_a_subject_is_not_read_backwards(value: str) -> None:
    refused = refusal(Templates(email()), Channel.EMAIL, name=value)
    assert "read backwards" in refused.detail


@pytest.mark.parametrize("value", ["\u05d0\u200f1", "\u2067a\u2069", "\U0001f469\u200d\U0001f4bb"])
def test_a_subject_may_be_written_from_right_to_left(value: str) -> None:
    content = Templates(email()).render(HELLO, Channel.EMAIL, "en", {"name": value})
    assert content.subject == f"Hello {value}"


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " \x01 java\tscript\n:alert(1)",
        "vbscript:x",
        "data:text/html,<script>alert(1)</script>",
    ],
)
@pytest.mark.parametrize("html", ["<a href='{{ v }}'>", '<A HREF = "{{ v }}">', "<a href={{ v }}>"])
def test_no_value_makes_a_link_that_runs_a_script(html: str, value: str) -> None:
    templates = Templates(email(subject="Hi", text="Hi", html=html))
    assert "run a script" in refusal(templates, Channel.EMAIL, v=value).detail


@pytest.mark.parametrize("value", ["https://x.test/?a=javascript:", "mailto:a@x.test", "/data:x"])
def test_a_link_that_runs_no_script_passes(value: str) -> None:
    templates = Templates(
        email(subject="{{ v }}", html="<a href='{{ v }}'>javascript: {{ v }}</a>")
    )
    assert templates.render(HELLO, Channel.EMAIL, "en", {"v": value, "name": "A"}).html


@pytest.mark.parametrize("value", ["a\0b", "a\x1bb", "a\x7fb", "a\x85b"])
def test_a_text_has_no_control_characters(value: str) -> None:
    assert "control character" in refusal(sms("{{ v }}"), v=value).detail


def test_a_text_may_have_lines() -> None:
    assert sms("a\n{{ v }}").render(HELLO, Channel.SMS, None, {"v": "b\r\nc"}).text == "a\nb\nc"


def test_nothing_said_is_nothing_sent() -> None:
    assert "nothing is left" in refusal(sms("{{ v }}"), v=" ").detail


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ v.__init__.__globals__ }}",
        "{% for i in range(v) %}.{% endfor %}",
        "{% for i in range(0, v, 1) %}.{% endfor %}",
        "{{ 'x' * v }}",
        "{{ [0] * v }}",
        "{{ 9 ** v }}",
        "{{ '%999999999d' % v }}",
        "{{ 'x'.ljust(v) }}",
        "{{ '{:999999999}'.format(v) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in range(1000) %}{% for j in range(1000) %}xx{% endfor %}{% endfor %}",
    ],
)
def test_data_cannot_make_much_work_or_look_outside(text: str) -> None:
    assert refusal(sms(text), v=1_000_000_000).pointer == "#/data"


@pytest.mark.parametrize(
    "text",
    [
        "{% include 'other' %}",
        "{% import 'other' as o %}",
        "{% extends 'other' %}",
        "{{ unclosed",
        "{{ v|lipsum }}",
        "{{ v|center(10) }}",
        "{% if %}",
    ],
)
def test_a_template_that_cannot_work_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"templates/hello/sms\.en\.txt"):
        sms(text)


@given(st.text())
def test_what_is_put_in_a_text_comes_out_or_is_refused(value: str) -> None:
    expected: str | None = f"<{value}>".replace("\r\n", "\n")
    if any(
        unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in re.sub("[\t\n]", "", str(expected))
    ):
        expected = None
    assert rendered(sms("<{{ v }}>"), v=value) == expected
