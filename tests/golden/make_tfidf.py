"""Golden data for tl-text: scikit-learn's TfidfVectorizer on awkward texts, with many options.

Needs scikit-learn and numpy.

    python tests/golden/make_tfidf.py

writes crates/tl-text/tests/data/tfidf.json: the texts, and for each set of options the number of terms, the CRC-32 of
all of them, and three sums of each row that any wrong value would change.
"""

import json
import pathlib
import zlib

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer

OUT = pathlib.Path(__file__).parents[2] / "crates/tl-text/tests/data/tfidf.json"

TEXTS = [
    "The quick brown fox jumps over the lazy dog.", "the Quick, QUICK fox!", "A dog's life isn't easy -- is it?",
    "naïve café façade ÜBER straße ﬁnal ½ cup", "cafe facade uber final cup", "e\u0301 decomposed cafe\u0301",
    "ὈΔΥΣΣΕΎΣ and ΟΔΟΣ end in sigma", "İstanbul I i ı", "日本語の文章です。 中文 字 テスト", "한국어 문장 입니다",
    "हिन्दी में एक वाक्य", "ไทย ภาษา ไม่มี ช่องว่าง", "عربي نص مع تشكيل مُحَمَّد", "עברית טקסט קצר",
    "emoji 😀 👩‍👩‍👧 🇩🇪 mixed😀with words", "tabs\tand  double   spaces\n\nand\x0blines \x1c\x1d of\u00a0space",
    "under_score a_b __ _x 1_000 3.14 2nd x2 ²³ ⅷ ①", "don’t “quote” me — please… ok?", "x", "", "one one one two two three",
    "to be or not to be that is the question", "be that as it may the dog may be lazy", "C++ C# F# .net R&D AT&T",
    "https://example.org/a?b=c&d=e user@example.org", "\u200bzero\u200bwidth\u200d joiner\ufeff", "Ǆ ǅ ǆ Ⅷ ⓐ ℌ 𝒳𝓎",
    "aaa aaaa aaaaa", "the the the the fox dog", "a fox and a dog and a cat and a fox",
]

# Eighteen words are there twice or more: with another `max_features` it would be chance which of equals is taken.
CONFIGS = [
    {}, {"ngram_range": (1, 2)}, {"ngram_range": (2, 3), "sublinear_tf": True}, {"lowercase": False},
    {"strip_accents": "ascii"}, {"strip_accents": "unicode", "ngram_range": (1, 2)}, {"min_df": 2},
    {"min_df": 0.07, "max_df": 0.2}, {"max_df": 3, "norm": "l1"}, {"max_features": 18, "norm": None},
    {"binary": True, "use_idf": False}, {"smooth_idf": False, "norm": "l1"}, {"token_pattern": r"(?u)\b\w+\b"},
    {"token_pattern": r"[a-z]+(?:['’][a-z]+)?|[0-9]", "ngram_range": (1, 2)}, {"token_pattern": r"(?u)([a-z]+)[\d_]"},
    {"stop_words": ["the", "to", "be", "is"], "ngram_range": (1, 3)}, {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char_wb", "ngram_range": (2, 4)}, {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": 2, "sublinear_tf": True},
    {"analyzer": "char", "ngram_range": (4, 4), "strip_accents": "unicode", "binary": True},
]


def sums(row):
    columns, values = row.indices, row.data
    return [np.round(float(s), 9) for s in (
        (values * np.cos(columns + 1.0)).sum(), (values * np.sin(columns * 0.37)).sum(), (values * values).sum())]


def main():
    cases = []
    for config in CONFIGS:
        model = TfidfVectorizer(**config)
        rows = model.fit_transform(TEXTS).tocsr()
        terms = sorted(model.vocabulary_, key=model.vocabulary_.get)
        # Rows of other texts too: some of their terms are unknown.
        other = model.transform([text[::-1] + " the fox dog" for text in TEXTS]).tocsr()
        cases.append({
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()},
            "terms": len(terms), "crc": zlib.crc32("\n".join(terms).encode()),
            "idf": np.round(float(model.idf_.sum()), 8) if model.use_idf else None,
            "rows": [sums(rows[i]) for i in range(len(TEXTS))],
            "other": [sums(other[i]) for i in range(len(TEXTS))],
        })
    data = {"made_by": f"scikit-learn {sklearn.__version__}", "texts": TEXTS, "cases": cases}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(data, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
