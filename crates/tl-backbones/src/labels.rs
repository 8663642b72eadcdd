//! Names of the classes that published classifiers tell apart.

/// The 1,000 ImageNet-1k classes in label order (list as in torchvision, BSD-3-Clause; see `data/README.md`).
const IMAGENET_1K: &str = include_str!("../data/imagenet1k.txt");

/// Class names in label order, for a published classifier of that many classes.
pub fn class_names(classes: i64) -> Option<Vec<&'static str>> {
    match classes {
        1000 => Some(IMAGENET_1K.lines().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_names_in_order() {
        let names = class_names(1000).unwrap();
        assert_eq!(names.len(), 1000);
        assert_eq!((names[0], names[309], names[310], names[999]), ("tench", "bee", "ant", "toilet tissue"));
    }
}
