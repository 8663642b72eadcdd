//! `LICENCE.txt`: what the weights that a model started from demand, in full.
//!
//! The decision behind it: permissive licences ask for their text and for the line that names who holds the rights, so both
//! are in the file; where the holder is not known here, the file says whom to ask.

use tl_train::Pretrained;

const APACHE: &str = include_str!("../../../../LICENSE-APACHE");
const BSD: &str = include_str!("licences/BSD-3-Clause.txt");
const MIT: &str = include_str!("licences/MIT.txt");

/// Who holds the rights in weights, by what their source contains; as the licence of the source has it.
const HOLDERS: &[(&str, &str)] = &[
    ("download.pytorch.org", "Copyright (c) Soumith Chintala 2016,\nAll rights reserved."),
    ("torchvision", "Copyright (c) Soumith Chintala 2016,\nAll rights reserved."),
    (".tv_", "Copyright (c) Soumith Chintala 2016,\nAll rights reserved."),
    ("FacebookAI/", "Copyright (c) Facebook, Inc. and its affiliates."),
    ("openai-community/gpt2", "Copyright (c) 2019 OpenAI"),
];

/// The text of the file.
pub(super) fn text(net: &str, from: &Pretrained) -> String {
    let head = format!(
        "This model was made from pretrained weights, whose licence goes with it.\n\n\
         net      {net}\n\
         weights  {}\n\
         source   {}\n\
         sha256   {}\n\
         licence  {}\n\n",
        from.name, from.source, from.sha256, from.licence
    );
    let holder = HOLDERS.iter().find(|(part, _)| from.source.contains(part) || from.name.contains(part));
    let holder = holder.map_or_else(
        || format!("Copyright (c) the authors of the weights ({}); the source names them.", from.source),
        |(_, line)| (*line).to_owned(),
    );
    let line = "-".repeat(72);
    match &from.licence[..] {
        // It wants no line of its own, only those of a NOTICE where the source has one.
        "Apache-2.0" => format!("{head}{line}\n\n{APACHE}"),
        "BSD-3-Clause" => format!("{head}{line}\n\nBSD 3-Clause License\n\n{holder}\n\n{BSD}"),
        "MIT" => format!("{head}{line}\n\nMIT License\n\n{holder}\n\n{MIT}"),
        "unknown" => {
            head + "The weights came from a file of which no licence is known. Whoever passes the model on has to find out \
                    under which terms that is allowed.\n"
        }
        name => format!("{head}The text of the licence: https://spdx.org/licenses/{name}.html\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_licence_of_the_tables_is_there_in_full() {
        let images = tl_backbones::CARDS.iter().flat_map(|card| card.weights).map(|weights| weights.licence);
        let texts = tl_backbones::text::TEXT_CARDS.iter().map(|card| card.licence);
        for licence in images.chain(texts) {
            let from = Pretrained {
                name: "torchvision-v1".to_owned(),
                source: "somewhere".to_owned(),
                sha256: String::new(),
                licence: licence.to_owned(),
            };
            let text = text("net", &from);
            assert!(text.len() > 1200 && !text.contains("spdx"), "{licence}");
            assert!(licence == "Apache-2.0" || text.contains("\nCopyright (c) Soumith"), "{text}");
        }
    }
}
