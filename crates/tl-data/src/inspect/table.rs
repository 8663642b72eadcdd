//! An [`Inspection`] as text.
//!
//! The one decision: one column of names, numbers to the right, so that it reads well in any terminal and
//! lines can be compared from run to run.

use std::borrow::Cow;
use std::fmt;

use super::numbers::short;
use super::{Inspection, KindCount, PartCounts, Spread};
use crate::shown::{columns, fitted, shown};
use crate::table::Task;

/// How many columns of a class name are shown.
const NAME: usize = 32;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} images, {}", self.images, size(self.bytes))?;
        writeln!(f)?;
        self.classes_table(f)?;
        if let Some(balance) = self.balance {
            writeln!(f, "largest to smallest {}: {balance:.2}", self.noun())?;
        }
        self.numbers_table(f)?;
        if let Some(sizes) = &self.sizes {
            writeln!(f, "\n{:<14} {:>9} {:>9} {:>9}", "", "min", "median", "max")?;
            line(f, "width, pixels", &sizes.width, 0)?;
            line(f, "height, pixels", &sizes.height, 0)?;
            line(f, "aspect", &sizes.aspect, 3)?;
        }
        writeln!(f)?;
        writeln!(f, "formats: {}", listed(&self.formats))?;
        writeln!(f, "colours: {}", listed(&self.colours))?;
        if !self.rotated.is_empty() {
            let rotated = self.rotated.iter().map(|(orientation, images)| KindCount {
                kind: format!("orientation {orientation}"),
                images: *images,
            });
            writeln!(f, "turned by EXIF: {}", listed(&rotated.collect::<Vec<_>>()))?;
        }
        for name in &self.first_animated {
            writeln!(f, "animated: `{}`", shown(name))?;
        }
        for file in &self.first_unreadable {
            writeln!(f, "unreadable: `{}`: {}", shown(&file.rel), shown(&file.reason))?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}", shown(warning))?;
        }
        Ok(())
    }
}

impl Inspection {
    fn classes_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<Cow<'_, str>> = self.classes.iter().map(|class| shown(&class.class)).collect();
        const NONE: &str = "(no label)";
        let without = self.unlabelled != PartCounts::default();
        let least = if without { NONE.len() } else { "class".len() };
        let longest = names.iter().map(|name| columns(name).min(NAME)).max().unwrap_or(0);
        let width = longest.max(least);
        let heading = if self.task == Task::Number { "" } else { self.noun() };
        writeln!(f, "{heading:<width$} {:>8} {:>8} {:>8}", "train", "val", "test")?;
        for (class, name) in self.classes.iter().zip(names) {
            let name = fitted(&name, width);
            writeln!(f, "{name} {:>8} {:>8} {:>8}", class.train, class.val, class.test)?;
        }
        let of_all = [(NONE, self.unlabelled), ("all", self.parts)];
        for (name, PartCounts { train, val, test }) in of_all.into_iter().skip(usize::from(!without)) {
            writeln!(f, "{name:<width$} {train:>8} {val:>8} {test:>8}")?;
        }
        Ok(())
    }

    fn numbers_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.numbers.is_empty() {
            return Ok(());
        }
        let names: Vec<Cow<'_, str>> = self.numbers.iter().map(|number| shown(&number.name)).collect();
        let longest = names.iter().map(|name| columns(name).min(NAME)).max().unwrap_or(0);
        let width = longest.max("number".len());
        let heading = ["min", "mean", "max", "std"].map(|name| format!("{name:>10}")).join(" ");
        writeln!(f, "\n{:<width$} {heading}  from min to max", "number")?;
        for (number, name) in self.numbers.iter().zip(names) {
            let figures = [number.min, number.mean, number.max, number.std];
            let figures = figures.map(|figure| format!("{:>10}", short(figure))).join(" ");
            writeln!(f, "{} {figures}  {}", fitted(&name, width), number.bars())?;
        }
        Ok(())
    }

    /// What the images are counted by.
    fn noun(&self) -> &'static str {
        if self.task == Task::MultiLabel { "label" } else { "class" }
    }
}

fn line<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    spread: &Spread<T>,
    digits: usize,
) -> fmt::Result {
    let Spread { min, median, max } = spread;
    writeln!(f, "{name:<14} {min:>9.digits$} {median:>9.digits$} {max:>9.digits$}")
}

fn listed(kinds: &[KindCount]) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    kinds.iter().map(|kind| format!("{} ({})", kind.kind, kind.images)).collect::<Vec<_>>().join("; ")
}

/// Bytes in units of 1024.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["bytes", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while let (true, Some(next)) = (value >= 1024.0, units.clone().next()) {
        (value, unit) = (value / 1024.0, next);
        units.next();
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
