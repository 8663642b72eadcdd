//! From a spec to a model on texts: tokenizer, tokens, net, head; and the baseline beside it.

use std::cell::RefCell;
use std::time::Instant;

use tch::Device;
use tl_heads::Task;
use tl_run::{Baseline, RunDir};
use tl_text::baseline::Scores;
use tl_text::entities::{EntityScores, MostFrequent, TagSet};
use tl_text::{BaselineOptions, TextDataset, TextSample, TokenOptions, baseline};
use tl_torch::Fill;
use tl_train::{Model, NewHead};

use super::data::{Sets, TextData};
use super::lora;
use super::net::TokenizerFile;
use crate::finetune::{Built, JobInputs, Origin};
use crate::fit;
use crate::spec::{Net, Resolved};
use crate::ui::Ui;

/// What a run on texts has besides samples.
#[derive(Debug)]
pub(crate) struct TextInputs {
    pub(crate) sets: Sets,
    pub(crate) dataset: TextDataset,
    files: Vec<TokenizerFile>,
    max_length: usize,
}

/// A text net on texts.
///
/// # Errors
/// Weights or tokenizer cannot be had or do not fit; a text cannot be tokenised.
pub(crate) fn build(
    resolved: &Resolved,
    data: TextData,
    device: Device,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Built> {
    let Net::Text(net) = &resolved.net else { anyhow::bail!("the net does not take texts") };
    let spec = &resolved.spec;
    let max_length = spec.text.as_ref().map_or(0, |text| text.max_length);
    let fetched = net.fetch(&spec.weights, ui)?;
    let tokenizer = fetched.tokenizer(TokenOptions { max_length, special_tokens: true })?;
    fetched.check_vocabulary(&tokenizer, &net.config)?;
    let (data, sets, dataset) = data.into_samples(&tokenizer)?;
    let mut backbone = net.load(&fetched, device)?;
    if let Some(lora) = net.lora_of(spec) {
        backbone = backbone.with_lora(&lora, spec.seed)?;
    }
    let task = fit::task(spec, &data.classes)?;
    let head = NewHead { spec: spec.head.clone(), task, dropout: spec.dropout, fill: Fill::Seed(spec.seed) };
    let mut model = Model::for_texts(backbone, head, data.classes.clone(), max_length, device)?;
    if spec.text.as_ref().is_some_and(|text| text.pooler) {
        net.put_pooler(&spec.weights, &model.head.store)?;
    }
    if let Task::Regression { .. } = task {
        model = model.with_target_stats(tl_data::target_stats(&data.train)?)?;
    }
    let origin = Origin { row: "", pretrained: fetched.pretrained(net) };
    let inputs = TextInputs { sets, dataset, files: fetched.tokenizer_files, max_length };
    Ok(Built { data, origin, model, inputs: JobInputs::Texts(Box::new(inputs)), matched: None })
}

impl TextInputs {
    pub(crate) fn announce(&self, model: &Model, ui: &Ui) {
        let lengths = self.sets.train.lengths();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
        let longest = lengths.iter().max().copied().unwrap_or(0);
        ui.line(&format!(
            "input      {mean:.0} tokens a text, {longest} at most; longer than {} are cut",
            self.max_length
        ));
        lora::announce(model, ui);
    }

    /// Writes the tokenizer into a run, and names its files with their sha256.
    pub(crate) fn write_tokenizer(&self, dir: &RunDir) -> anyhow::Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        for TokenizerFile { name, path, sha256 } in &self.files {
            let text = std::fs::read_to_string(path)
                .map_err(|error| anyhow::anyhow!("failed to read `{}`: {error}", path.display()))?;
            dir.write_text(name, &text)?;
            names.push((name.clone(), sha256.clone()));
        }
        Ok(names)
    }

    /// TF-IDF and logistic regression on the same split, or of words with tags the most frequent tag of each; none of several
    /// labels and of numbers.
    pub(crate) fn baseline(&self, seed: u64) -> anyhow::Result<Option<Baseline>> {
        let data = &self.dataset;
        if let Some(tagging) = &data.tagging {
            return Ok(Some(most_frequent(data, &tagging.tags)));
        }
        if data.task != tl_data::Task::Class {
            return Ok(None);
        }
        let start = Instant::now();
        let options = BaselineOptions { seed, ..BaselineOptions::default() };
        let (model, report) = baseline(&data.train, &data.val, &data.classes, &options)?;
        let test = match data.test.is_empty() {
            true => None,
            false => {
                let texts: Vec<String> = data.test.iter().map(TextSample::joined).collect();
                let labels: Vec<u32> = data.test.iter().map(|sample| sample.label).collect();
                Some(Scores::new(&model.predict(&texts)?, &labels, data.classes.len()).accuracy)
            }
        };
        Ok(Some(Baseline {
            what: "TF-IDF and logistic regression".to_owned(),
            val_accuracy: report.val.accuracy,
            val_balanced_accuracy: report.val.balanced_accuracy,
            test_accuracy: test,
            val_f1: None,
            test_f1: None,
            seconds: start.elapsed().as_secs_f64(),
        }))
    }
}

/// Each word has the tag that it has most often in training.
fn most_frequent(data: &TextDataset, set: &TagSet) -> Baseline {
    let start = Instant::now();
    let tagged =
        |texts: &'_ [TextSample]| texts.iter().filter_map(|text| text.tagged.clone()).collect::<Vec<_>>();
    let train = tagged(&data.train);
    let model = MostFrequent::fit(set, train.iter().map(AsRef::as_ref));
    let scores = |texts: &[TextSample]| {
        let texts = tagged(texts);
        let said: Vec<Vec<u32>> = texts.iter().map(|text| model.tags(&text.words)).collect();
        let right = texts.iter().map(|text| &text.tags[..]);
        EntityScores::new(set, right.zip(said.iter().map(Vec::as_slice)))
    };
    let val = scores(&data.val);
    let test = (!data.test.is_empty()).then(|| scores(&data.test));
    Baseline {
        what: format!("the most frequent tag of each of {} words", model.words()),
        val_accuracy: val.word_accuracy(),
        val_balanced_accuracy: val.balanced_accuracy(),
        test_accuracy: test.as_ref().map(EntityScores::word_accuracy),
        val_f1: set.marks_entities().then(|| val.all().f1()),
        test_f1: test.filter(|_| set.marks_entities()).map(|test| test.all().f1()),
        seconds: start.elapsed().as_secs_f64(),
    }
}
