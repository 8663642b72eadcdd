//! The numbers of classes or labels.
//!
//! The one decision: while a table is read a name gets the next number, and at its end the numbers are changed
//! to the places in the sorted list, so one pass is enough.

use std::collections::BTreeMap;

use crate::collected::nearest;

/// Names and their numbers.
#[derive(Debug)]
pub struct Names {
    numbers: BTreeMap<String, u32>,
    /// The names of an explicit list, which is all there may be.
    given: Option<Vec<String>>,
}

impl Names {
    /// Any names, or those of a list.
    pub fn new(given: Option<&[String]>) -> Self {
        let given = given.map(<[String]>::to_vec);
        let numbers = given.iter().flatten().cloned().zip(0..).collect();
        Self { numbers, given }
    }

    /// Whether only the names of a list are known.
    pub fn is_list(&self) -> bool {
        self.given.is_some()
    }

    /// The number of a name; `None` if it is not in the list.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        if self.given.is_some() {
            return None;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        Some(number)
    }

    /// The name of the list that was most likely meant.
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.given.iter().flatten().map(String::as_str)).map(str::to_owned)
    }

    /// The names in their final order, and the final number of each number given out.
    pub fn finish(self) -> (Vec<String>, Vec<u32>) {
        if let Some(given) = self.given {
            let same = (0..given.len() as u32).collect();
            return (given, same);
        }
        let mut numbers = vec![0; self.numbers.len()];
        for (place, &number) in (0..).zip(self.numbers.values()) {
            numbers[number as usize] = place;
        }
        (self.numbers.into_keys().collect(), numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_by_bytes_or_as_given() {
        let mut found = Names::new(None);
        assert_eq!(["b", "B", "ä", "b", "a"].map(|name| found.number(name).unwrap()), [0, 1, 2, 0, 3]);
        assert_eq!(found.finish(), (["B", "a", "b", "ä"].map(str::to_owned).to_vec(), vec![2, 0, 3, 1]));

        let list = ["dog", "cat"].map(str::to_owned);
        let mut given = Names::new(Some(&list));
        assert_eq!((given.number("cat"), given.number("cta")), (Some(1), None));
        assert_eq!(given.nearest("cta").as_deref(), Some("cat"));
        assert_eq!(given.finish(), (list.to_vec(), vec![0, 1]));
    }
}
