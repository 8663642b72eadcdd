//! The table of nets. One row here, one `mod` in `lib.rs` and one file add a net; the tests of the table then check it.

use crate::card::Card;
use crate::error::BackboneError;
use crate::{
    alexnet, convnext, densenet, efficientnet, googlenet, inception_v3, mobilenet, resnet, vgg, vit,
};

/// All nets, in the order in which they are listed to people.
pub static CARDS: &[&Card] = &[
    &efficientnet::LITE0,
    &efficientnet::LITE1,
    &efficientnet::LITE2,
    &efficientnet::LITE3,
    &efficientnet::LITE4,
    &efficientnet::B0,
    &efficientnet::B1,
    &efficientnet::B2,
    &efficientnet::B3,
    &efficientnet::B4,
    &mobilenet::V1,
    &mobilenet::V2,
    &mobilenet::V3_SMALL,
    &mobilenet::V3_LARGE,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &resnet::RESNET50,
    &resnet::RESNET101,
    &resnet::RESNET152,
    &resnet::RESNEXT50,
    &resnet::RESNEXT101_32,
    &resnet::RESNEXT101_64,
    &resnet::WIDE_RESNET50,
    &densenet::DENSENET121,
    &densenet::DENSENET169,
    &googlenet::GOOGLENET,
    &inception_v3::INCEPTION_V3,
    &alexnet::ALEXNET,
    &vgg::VGG11,
    &vgg::VGG13,
    &vgg::VGG16,
    &vgg::VGG19,
    &vgg::VGG11_BN,
    &vgg::VGG13_BN,
    &vgg::VGG16_BN,
    &vgg::VGG19_BN,
    &convnext::TINY,
    &convnext::SMALL,
    &convnext::BASE,
    &vit::VIT_S,
    &vit::VIT_B,
    &vit::DINOV2_S,
    &vit::DINOV2_B,
];

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
