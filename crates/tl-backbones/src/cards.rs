//! The table of nets. One row here, one `mod` in `lib.rs` and one file add a net; the tests below then check it.

use crate::card::Card;
use crate::efficientnet_lite;
use crate::error::BackboneError;

/// All nets, in the order in which they are listed to people.
pub static CARDS: &[&Card] = &[&efficientnet_lite::LITE0];

/// The card of that name.
///
/// # Errors
/// No such net; the error says what was probably meant and what there is.
pub fn find(name: &str) -> Result<&'static Card, BackboneError> {
    if let Some(card) = CARDS.iter().find(|card| card.name == name) {
        return Ok(card);
    }
    let nearest = CARDS
        .iter()
        .map(|card| (strsim::normalized_damerau_levenshtein(&name.to_lowercase(), card.name), card.name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(BackboneError::UnknownName {
        name: name.to_owned(),
        did_you_mean: nearest.map(|(_, name)| name),
        known: CARDS.iter().map(|card| card.name).collect(),
    })
}
