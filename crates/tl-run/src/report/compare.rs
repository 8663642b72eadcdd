//! The page that shows several runs side by side.

use maud::{Markup, html};

use super::{figure, page, scroll};
use crate::plot::{self, PlotFile};
use crate::shelf::Run;

/// What the page is made from.
#[derive(Clone, Copy, Debug)]
pub struct CompareReport<'a> {
    /// The runs.
    pub runs: &'a [Run],
    /// Names of columns, and a row a run.
    pub table: (&'a [String], &'a [Vec<String>]),
    /// What can be said of the differences, a line each.
    pub remarks: &'a [String],
}

impl CompareReport<'_> {
    /// What the runs are judged by and their loss, by epoch, one line a run; of the first six.
    #[must_use]
    pub fn plots(&self) -> Vec<PlotFile> {
        plot::overlaid_plots(self.runs)
    }

    /// The whole page.
    #[must_use]
    pub fn html(&self, version: &str) -> String {
        let (head, rows) = self.table;
        // Columns of words stand at the left.
        let letters = |cell: &String| cell.starts_with(char::is_alphabetic);
        let words: Vec<bool> =
            (0..head.len()).map(|i| rows.iter().any(|row| row.get(i).is_some_and(letters))).collect();
        let table = html! {
            table.dense {
                thead { tr { @for (name, words) in head.iter().zip(&words) { th.words[*words] scope="col" { (name) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" { (cell) } } @else { td.words[words[i]] { (cell) } }
                            }
                        }
                    }
                }
            }
        };
        let curves: Markup = html! { div.plots { @for plot in self.plots() { (figure(&plot, "")) } } };
        let remarks = html! { @for remark in self.remarks { p.lines { (remark) } } };
        let sections = [
            ("runs".to_owned(), "Runs".to_owned(), scroll("table of runs", &table)),
            ("differences".to_owned(), "Differences".to_owned(), remarks),
            ("curves".to_owned(), "Curves".to_owned(), curves),
        ];
        page(&format!("{} runs compared", self.runs.len()), "", &sections, version)
    }
}
