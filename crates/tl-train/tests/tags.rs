//! Tags of words in the loop: learned from first tokens, kept by token, and answered word by word.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{Epochs, options};
use tch::Device;
use tl_backbones::Backbone;
use tl_backbones::text::TextConfig;
use tl_data::Sample;
use tl_finetune::{Metric, Preset, PresetOptions};
use tl_heads::Task;
use tl_text::entities::TagSet;
use tl_text::tokens::{Encoded, Tokens};
use tl_torch::Fill;
use tl_train::{
    Ended, Feed, Inputs, Model, NewHead, Options, SetInputs, Texts, evaluate, likeliest_tags, predict_texts,
    price, train,
};

const CONFIG: &str = r#"{ "model_type": "bert", "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 40, "type_vocab_size": 2 }"#;
const TAGS: [&str; 3] = ["O", "B-X", "I-X"];

fn model(head: &str, task: Task) -> Result<Model, tl_train::TrainError> {
    let config = TextConfig::parse(CONFIG.as_bytes()).unwrap();
    let backbone = Backbone::text("tiny", &config, Device::Cpu, Fill::Seed(3)).unwrap();
    let head = NewHead { spec: head.parse().unwrap(), task, dropout: 0.0, fill: Fill::Seed(3) };
    Model::for_texts(backbone, head, TAGS.map(str::to_owned).to_vec(), 40, Device::Cpu)
}

fn tagger() -> Model {
    model("tokens", Task::Tagging { tags: 3, entities: true }).unwrap()
}

/// Sentences of 2 to 9 words of one to three tokens. Token 7 begins an entity, and 8 behind it goes on with it. Of every
/// fifth sentence the last word is cut off.
fn sentences(n: usize, seed: u64) -> (Arc<[Sample]>, Encoded) {
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut samples, mut texts) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (mut ids, mut words, mut tags) = (vec![2], vec![None], Vec::new());
        for word in 0..2 + draw(8) as u32 {
            let before = tags.last().copied().unwrap_or(0.0);
            let (tag, first) = match draw(3) {
                0 => (1.0, 7),
                1 if before > 0.0 => (2.0, 8),
                _ => (0.0, 10 + draw(30) as u32),
            };
            tags.push(tag);
            let pieces = 1 + draw(3);
            ids.extend((0..pieces).map(|piece| if piece == 0 { first } else { 9 }));
            words.extend((0..pieces).map(|_| Some(word)));
        }
        let cut = i % 5 == 0;
        if cut {
            let last = tags.len() as u32 - 1;
            let kept = words.iter().take_while(|word| **word != Some(last)).count();
            ids.truncate(kept);
            words.truncate(kept);
        }
        ids.push(3);
        words.push(None);
        let target = Some(tags.into());
        samples.push(Sample {
            path: "s.conll".into(),
            label: 0,
            target,
            id: i as u64,
            rel: format!("s.conll:{i}"),
        });
        texts.push(Tokens { types: vec![0; ids.len()], ids, words, cut });
    }
    (samples.into(), Encoded { texts, pad: 0 })
}

#[test]
fn a_tagger_learns_from_first_tokens_kept_or_not() {
    let ((samples, tokens), (val, val_tokens)) = (sentences(60, 5), sentences(21, 9));
    let stop = AtomicBool::new(false);
    let inputs = Inputs::Texts(Texts { train: &tokens, val: &val_tokens });
    let feed = Feed { train: &samples, val: &val, ids: None, weights: None, stop: &stop, inputs };
    let run = |cache: u64| {
        let model = tagger();
        let mut words = PresetOptions { texts: true, ..PresetOptions::default() };
        words.epochs = Some(vec![4, 6]);
        let mut schedule = Preset::Gradual.schedule(&model.net_info(), &words).unwrap();
        for part in schedule.phases.iter_mut().flat_map(|phase| &mut phase.train) {
            part.rate *= 10.0;
        }
        let plan = schedule.plan(&model.net_info(), model.head.store.count()).unwrap();
        let options = Options { monitor: Metric::EntityF1, label_smoothing: 0.0, ..options(cache) };
        let prices = price(&model, &plan, &feed, &options).unwrap();
        assert!(prices.iter().all(|price| price.epoch > 0.0));
        let mut epochs = Epochs::default();
        let outcome = train(&model, &plan, &feed, &options, None, &mut epochs).unwrap();
        assert_eq!(outcome.ended, Ended::Finished);
        (model, epochs)
    };
    let (model, epochs) = run(1 << 30);
    let (_, anew) = run(0);
    for (a, b) in anew.results.iter().zip(&epochs.results) {
        assert!((a.val.loss - b.val.loss).abs() < 1e-3, "{} {}", a.val.loss, b.val.loss);
    }
    let best = epochs.results.iter().filter_map(|epoch| epoch.monitored).fold(0.0, f64::max);
    let never = AtomicBool::new(false);
    let scored = evaluate(&model, &val, SetInputs::Texts(&val_tokens), &never, &mut |_| ()).unwrap();
    let scores = scored.tags.clone().unwrap();
    assert_eq!(scored.value(Metric::EntityF1), Some(best), "the best weights are kept");
    assert!(best > 0.8, "{best}");
    assert!(scored.value(Metric::WordAccuracy).unwrap() > 0.9 && scored.value(Metric::Accuracy).is_none());
    let words: usize = val.iter().map(|sample| sample.target.as_ref().unwrap().len()).sum();
    assert_eq!(scores.words, words, "words that were cut off are counted");

    let set = TagSet::of(&TAGS.map(str::to_owned)).unwrap();
    // What is said does not depend on the company, and stands in the order of the texts.
    let said = predict_texts(&model, &val_tokens, false, &mut |_| ()).unwrap();
    for (i, tokens) in val_tokens.texts.iter().enumerate() {
        let alone = Encoded { texts: vec![tokens.clone()], pad: 0 };
        let alone = predict_texts(&model, &alone, false, &mut |_| ()).unwrap().remove(0);
        assert!(alone.iter().zip(&said[i]).all(|(a, b)| (a - b).abs() < 1e-4), "text {i}");
        assert_eq!(alone.len(), 3 * tokens.firsts().len());
        let of_all = &scored.probabilities[i];
        assert!(of_all.iter().zip(&said[i]).all(|(a, b)| (a - b).abs() < 1e-4), "text {i}");
        let tags = likeliest_tags(of_all, &set);
        assert!(tags[tokens.firsts().len()..].iter().all(|tag| *tag == 0), "cut off is `O`");
    }
}

#[test]
fn what_does_not_fit_tags_is_refused() {
    let error = |head: &str, task| model(head, task).unwrap_err().to_string();
    assert!(error("gap", Task::Tagging { tags: 3, entities: true }).contains("tags need it"));
    assert!(error("tokens", Task::Softmax { classes: 3 }).contains("pooling `tokens` is for tags"));
    assert!(error("tokens", Task::Tagging { tags: 2, entities: true }).contains("do not fit 3 classes"));
    let never = AtomicBool::new(false);
    let refused = |samples: &Arc<[Sample]>, encoded: &Encoded| {
        let inputs = SetInputs::Texts(encoded);
        evaluate(&tagger(), samples, inputs, &never, &mut |_| ()).unwrap_err().to_string()
    };
    let (samples, tokens) = sentences(3, 1);
    let mut odd: Vec<Sample> = samples.to_vec();
    odd[1].target = Some(vec![7.0; 9].into());
    assert!(refused(&odd.into(), &tokens).contains("expected the number of a tag below 3 for each word"));
    let mut short: Vec<Sample> = samples.to_vec();
    short[1].target = Some(vec![0.0].into());
    assert!(refused(&short.into(), &tokens).contains("1 words with tags"));
    let mut none = tokens.clone();
    none.texts[2].words.fill(None);
    assert!(refused(&samples, &none).contains("tokens of 0"));
}
