//! Labelled texts as batches of token ids, and how long that takes:
//! `cargo run --release -p tl-text --example tokens -- PATH TOKENIZER [MAX_LENGTH]`.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::path::PathBuf;
use std::time::Instant;

use tl_data::SplitOptions;
use tl_text::tokens::BatchOptions;
use tl_text::{TextDataset, TextError, TextOptions, TokenOptions, Tokenizer};

fn main() -> Result<(), TextError> {
    let mut args = std::env::args().skip(1);
    let (path, tokenizer) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let max_length = args.next().and_then(|length| length.parse().ok());
    let options = TokenOptions {
        max_length: max_length.unwrap_or(TokenOptions::default().max_length),
        ..TokenOptions::default()
    };
    let data = TextDataset::open(&PathBuf::from(path), &TextOptions::default(), &SplitOptions::default())?;
    let start = Instant::now();
    let tokenizer = Tokenizer::open(&PathBuf::from(tokenizer), options)?;
    println!(
        "{} tokens in the vocabulary, {:.3} s to read",
        tokenizer.vocabulary(),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let encoded = tokenizer.encode_all(&data.train)?;
    let tokens: usize = encoded.lengths().iter().sum();
    let (texts, cut) = (encoded.texts.len(), encoded.truncated());
    println!("{texts} texts, {tokens} tokens, {cut} cut, {:.3} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let (mut batches, mut places) = (0, 0);
    for batch in encoded.batches(&BatchOptions::shuffled(32, 42), 0)? {
        batches += 1;
        places += batch?.ids.len();
    }
    let filled = 100.0 * (places - tokens) as f64 / places.max(1) as f64;
    println!("{batches} batches, {filled:.1} % filled up, {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}
