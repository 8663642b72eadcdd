//! Where the documentation of Keras and the code of Keras 3 differ, for the options in use.
//!
//! The one decision: nothing is said about options that are off, so that every line is about this generator.

use super::ImageDataGenerator;
use super::options::{Compat, FillMode, IdgOptions, ShiftRange};

/// One line for each difference that matters with these options, then `more`, and a line that says which side
/// is taken; empty if there are none.
pub(super) fn explain(generator: &ImageDataGenerator, more: &[String]) -> Vec<String> {
    let options = &generator.options;
    let mut lines = Vec::new();
    geometry(options, &mut lines);
    shifts(options, &mut lines);
    values(options, &mut lines);
    statistics(options, generator.preprocesses(), &mut lines);
    lines.extend_from_slice(more);
    if !lines.is_empty() {
        lines.push(match options.compat {
            Compat::Documented => "`compat` is `documented`: the first of each is done here".to_owned(),
            Compat::Keras3 => "`compat` is `keras3`: the second of each is done here".to_owned(),
        });
    }
    if options.zca_whitening {
        lines.push(
            "in both, `zca_whitening` leaves out directions in which the data do not vary; Keras 3 divides them by \
             nearly nothing"
                .to_owned(),
        );
    }
    if options.validation_split != 0.0 && changes_images(options) {
        lines.push(
            "in both, the validation subset is changed at random as well; flow it from `without_augmentation`"
                .to_owned(),
        );
    }
    lines
}

/// Where images from files differ.
pub(super) fn files() -> Vec<String> {
    vec![
        "photos: upright by their EXIF orientation; Keras 3 turns TIFF alone".to_owned(),
        "16 bits: levels from 0 to 255; Keras 3 leaves grey as it is with `grayscale`, cuts it off at 255 with other \
         colours, and drops the lower byte of coloured images"
            .to_owned(),
    ]
}

/// Whether an option makes random changes.
pub(super) fn changes_images(o: &IdgOptions) -> bool {
    moves_pixels(o)
        || o.horizontal_flip
        || o.vertical_flip
        || o.channel_shift_range != 0.0
        || o.brightness_range.is_some()
}

/// Whether an option makes images be resampled.
fn moves_pixels(o: &IdgOptions) -> bool {
    o.rotation_range != 0.0
        || o.shear_range != 0.0
        || o.zoom_range != (1.0, 1.0)
        || !o.width_shift_range.is_none()
        || !o.height_shift_range.is_none()
}

fn geometry(o: &IdgOptions, lines: &mut Vec<String>) {
    if !o.width_shift_range.is_none() {
        lines.push(
            "`width_shift_range`: documented as left and right; Keras 3 moves images up and down by it"
                .to_owned(),
        );
    }
    if !o.height_shift_range.is_none() {
        lines.push(
            "`height_shift_range`: documented as up and down; Keras 3 moves images left and right by it"
                .to_owned(),
        );
    }
    if o.rotation_range != 0.0 || o.shear_range != 0.0 || o.zoom_range != (1.0, 1.0) {
        lines.push(
            "rotation, shear and zoom: documented as about the centre; Keras 3 takes the centre with rows and \
             columns exchanged, which is elsewhere unless images are square"
                .to_owned(),
        );
    }
    if o.fill_mode == FillMode::Wrap && moves_pixels(o) {
        lines.push(
            "`fill_mode` `wrap`: documented as the image repeated; Keras 3 repeats after one pixel less than its \
             side, so that the edge is left out"
                .to_owned(),
        );
    }
}

fn shifts(o: &IdgOptions, lines: &mut Vec<String>) {
    for (name, range) in
        [("width_shift_range", &o.width_shift_range), ("height_shift_range", &o.height_shift_range)]
    {
        match range {
            ShiftRange::Int(n) if *n > 1 => lines.push(format!(
                "`{name}` {n}: documented as the whole numbers from -{0} to {0}, all alike; Keras 3 draws 0 twice as \
                 often as any other",
                n - 1
            )),
            ShiftRange::Int(n) if *n < 0 => lines
                .push(format!("`{name}` {n}: not documented; Keras 3 takes it as a float and as parts of the side")),
            ShiftRange::List(values) if !values.is_empty() => lines.push(format!(
                "`{name}` as a list: documented as one of its elements; Keras 3 turns the sign of every second one, \
                 and takes a list without an element from 1 as parts of the side, even with elements below -1"
            )),
            _ => {}
        }
    }
}

fn values(o: &IdgOptions, lines: &mut Vec<String>) {
    if o.brightness_range.is_some() {
        lines.push(
            "`brightness_range`: documented for any input; Keras 3 goes through whole numbers of 0 to 255, which \
             makes images in 0 to 1 black and cuts off fractions"
                .to_owned(),
        );
    }
}

fn statistics(o: &IdgOptions, preprocesses: bool, lines: &mut Vec<String>) {
    if !(o.featurewise_center || o.featurewise_std_normalization || o.zca_whitening) {
        return;
    }
    lines.push("without `fit`: documented as required; Keras 3 leaves the featurewise steps out".to_owned());
    if preprocesses {
        lines.push(
            "`fit`: statistics of what the featurewise step sees; Keras 3 leaves `preprocessing_function` out of them"
                .to_owned(),
        );
    }
    if o.samplewise_center || o.samplewise_std_normalization {
        lines.push(
            "`fit`: statistics of what the featurewise step sees; Keras 3 leaves the samplewise steps out of them"
                .to_owned(),
        );
    }
    if o.rescale.is_some_and(|rescale| rescale != 0.0) && changes_images(o) {
        lines.push(
            "`fit` with `augment`: random changes come before `rescale`, as in the flows; Keras 3 rescales first"
                .to_owned(),
        );
    }
}
