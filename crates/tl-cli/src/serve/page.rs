//! The pages that `tl serve` shows people.
//!
//! The decision behind it: a page is one answer without anything to fetch after it, while what the pages have in common,
//! style and script, is one file each. So the files name those as pages do, and are put together here. What the model is
//! stands in the page as it is sent, so that it is read without scripts, too.

use tl_train::{Model, SavedModel};

const PARTS: [(&str, &str, &str, &str); 2] = [
    ("<link rel=\"stylesheet\" href=\"shared.css\">", "<style>\n", include_str!("shared.css"), "</style>"),
    ("<script src=\"shared.js\"></script>", "<script>\n", include_str!("shared.js"), "</script>"),
];
/// Where a page says what the model is.
const ABOUT: &str = "{about}";
/// Names that are said of a model; of more there is a count.
const NAMES: usize = 12;

/// A page with all that it names, about this model.
pub(super) fn whole(page: &str, saved: &SavedModel, model: &Model) -> String {
    let mut page = page.to_owned();
    for (link, begin, text, end) in PARTS {
        page = page.replacen(link, &format!("{begin}{text}{end}"), 1);
    }
    page.replacen(ABOUT, &escaped(&about(saved, model)), 1)
}

fn about(saved: &SavedModel, model: &Model) -> String {
    let names = &saved.classes;
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let some = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let calibrated = if model.temperature.is_some() { ". Probabilities are calibrated" } else { "" };
    format!("{}, trained to tell: {some}{more}{calibrated}.", saved.backbone)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_nothing_that_they_do_not_have() {
        for page in [include_str!("page.html"), include_str!("text.html")] {
            assert!(page.contains(ABOUT) && PARTS.iter().all(|(link, ..)| page.contains(link)), "{page}");
        }
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
