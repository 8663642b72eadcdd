//! Sentences with their entities marked: those that are right, and those that were said.
//!
//! The decision behind it: kinds stand in words beside what is marked, so that a page says all in black and white and to
//! those who hear it.

use maud::{Markup, html};

use crate::analysis::{CostlyWord, Sentence, Span};

/// A list of sentences, each twice.
pub(super) fn list(sentences: &[Sentence]) -> Markup {
    html! {
        ol.sentences {
            @for sentence in sentences {
                li {
                    p { b { "right" } " " (marked(sentence, &sentence.right, &sentence.said)) }
                    p { b { "said" } " " (marked(sentence, &sentence.said, &sentence.right)) }
                    p.soft {
                        (sentence.file) ", loss " (format!("{:.3}", sentence.loss))
                        @if sentence.unseen > 0 { "; the model did not see " (sentence.unseen) " of its words" }
                    }
                }
            }
        }
    }
}

/// A table of words.
pub(super) fn words(words: &[CostlyWord]) -> Markup {
    html! {
        table {
            thead {
                tr {
                    @for head in ["word", "there", "wrong", "loss"] { th scope="col" { (head) } }
                    @for head in ["most often right", "and said"] { th.words scope="col" { (head) } }
                }
            }
            tbody {
                @for word in words {
                    tr {
                        th scope="row" { (word.word) }
                        @for count in [word.there, word.wrong] { td { (count) } }
                        td { (format!("{:.2}", word.loss)) }
                        @for tag in [&word.tag, &word.predicted] { td.words { (tag) } }
                    }
                }
            }
        }
    }
}

/// The words, with spans marked; those that are not among the others are bad.
fn marked(sentence: &Sentence, spans: &[Span], others: &[Span]) -> Markup {
    let same = |a: &Span, b: &Span| (a.start, a.end, &a.kind) == (b.start, b.end, &b.kind);
    let words = |from: usize, to: usize| {
        let to = to.min(sentence.words.len());
        sentence.words.get(from..to).unwrap_or_default().join(" ")
    };
    let ends = spans.iter().map(|span| span.end as usize);
    let gaps: Vec<usize> = std::iter::once(0).chain(ends).collect();
    html! {
        @for (span, from) in spans.iter().zip(&gaps) {
            (words(*from, span.start as usize)) " "
            mark.wrong[!others.iter().any(|other| same(span, other))] {
                (words(span.start as usize, span.end as usize))
                small {
                    " " (span.kind)
                    @if let Some(p) = span.probability { (format!(" {p:.2}")) }
                }
            }
            " "
        }
        (words(gaps.last().copied().unwrap_or(0), sentence.words.len()))
    }
}
