"""Personal data and keys are found by their form, and only by it; they are never shown whole."""

import pytest

from studio.data.personal_data import PLACEHOLDERS, is_iban, is_luhn, personal_items, redacted

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nq83v\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6y"

# kind, text before, the item, text behind
FOUND = [
    ("e-mail address", "write to ", "john.doe+news@mail.example.co.uk", "."),
    ("e-mail address", "(", "a_b@x-y.io", ")"),
    ("phone number", "call ", "+1 415 555 2671", " now"),
    ("phone number", "", "(415) 555-2671", ""),
    ("phone number", "", "415-555-2671", ", or"),
    ("phone number", "at ", "910.538.0115", "."),
    ("phone number", "", "+49 170 1234567", ""),
    ("phone number", "", "+44 (0)20 7946 0958", ""),
    ("phone number", "", "+14155552671", ""),
    ("phone number", "rappelez le ", "06 12 34 56 78", "."),
    ("phone number", "手机是", "13812345678", "。"),
    ("phone number", "Tel.: ", "030 1234567", ""),
    ("phone number", "my telephone number is ", "367 - 1314", "."),
    ("phone number", "телефон ", "8 (912) 345-67-89", ""),
    ("card number", "card ", "4111 1111 1111 1111", ""),
    ("card number", "", "5500-0000-0000-0004", ";"),
    ("card number", "", "378282246310005", ""),
    ("bank account (IBAN)", "to ", "DE89 3704 0044 0532 0130 00", " please"),
    ("bank account (IBAN)", "", "GB82WEST12345698765432", ","),
    ("IP address", "from ", "185.23.44.12", ":8080"),
    ("IP address", "ip ", "8.8.8.8", ""),
    ("IP address", "", "2001:db8:85a3::8a2e:370:7334", ""),
    ("key or token", "", "sk-abcdefghijklmnopqrstuvwx1234", ""),
    ("key or token", "", "sk-proj-Ab1_" + "x9" * 20, ""),
    ("key or token", "token=", "ghp_" + "aB3" * 12, ""),
    ("key or token", "", "github_pat_11AAAA" + "b2" * 20, ""),
    ("key or token", "", "AKIAIOSFODNN7EXAMPLE", ""),
    ("key or token", "", "hf_" + "AbC1" * 8, "'"),
    ("key or token", "Bearer ", JWT, ""),
    ("private key", "key:\n", KEY, "\nend"),
]


@pytest.mark.parametrize(("kind", "before", "item", "behind"), FOUND)
def test_an_item_is_found_whole_and_redacted(kind: str, before: str, item: str, behind: str):
    text = before + item + behind
    found = personal_items(text)
    assert [(one.kind, text[one.start : one.end]) for one in found] == [(kind, item)]
    assert redacted(text) == before + PLACEHOLDERS[kind] + behind
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(("kind", "before", "item", "behind"), FOUND)
def test_what_is_shown_of_an_item_does_not_give_it_away(
    kind: str, before: str, item: str, behind: str
):
    (found,) = personal_items(before + item + behind)
    assert item not in found.shown
    digits = "".join(filter(str.isdigit, item))
    shown = "".join(filter(str.isdigit, found.shown))
    assert len(shown) <= max(len(digits) // 2, 5)


@pytest.mark.parametrize(
    "text",
    [
        *("@app.route('/x')", "icon@2x.png", "git@github.com:owner/project", "user@localhost"),
        *("1234567890", "population 1500000000", "1,234,567,890", "1609459200000"),
        *("2020-10-12 12:30:45", "12/10/2020", "phone 2020-10-12", "call 100 people in 2020"),
        *("x+12345678901", "100000 + 20000000 = 2", "+ 5 000 000 users"),
        *("472547338+960397912423686", "fe80::1ff:fe23:4567:890a"),
        *("ISBN 978-3-16-148410-0", "pages 10-20", "3.14159265358979", "0.123-456-7890"),
        *("4111 1111 1111 1112", "1234567890123456", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        *("0000 0000 0000 0000", "4212883012996", "DE89 3704 0044 0532 0130 01", "AB12 3456 7890"),
        *("v1.2.3.4", "version 10.20.30.40", "section 1.2.3.4", "Chrome/91.0.4472.124", "1.2.3.4"),
        *("192.168.1.1", "127.0.0.1", "10.0.0.255", "172.16.4.1", "255.255.255.0", "300.1.2.3"),
        *("std::vector<int>::iterator", "12:30:45", "a1:b2:c3:d4:e5:f6"),
        *("sk-learn-is-a-great-library-for-all", "ghp_short1", "AKIAlowercase1234567", "hf_hub"),
        *("the eyJ prefix", "-----BEGIN PUBLIC KEY-----", "[EMAIL] [PHONE] [CARD] [IBAN] [IP]"),
    ],
)  # fmt: skip
def test_what_only_looks_like_personal_data_is_left(text: str):
    assert personal_items(text) == []


def test_items_are_found_in_order_and_none_twice():
    text = "ada@post.org, 4111 1111 1111 1111, +1 415 555 2671, ada@post.org"
    kinds = [item.kind for item in personal_items(text)]
    assert kinds == ["e-mail address", "card number", "phone number", "e-mail address"]


def test_a_private_key_without_its_end_is_redacted_to_its_last_line():
    text = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG\n"
    assert redacted(text) == "[PRIVATE_KEY]"


def test_check_digits_are_computed():
    # Source: the examples of ISO/IEC 7812 and of the IBAN registry.
    assert is_luhn("79927398713") and not is_luhn("79927398710")
    assert is_iban("GB82 WEST 1234 5698 7654 32") and is_iban("NO9386011117947")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")
