//! Whether a spec fits its net and its classes, seen on the net's shapes alone: before images are decoded and weights
//! fetched. What is wrong joins the other problems.

use std::path::Path;

use tch::Device;
use tl_backbones::{Backbone, Card, Observed};
use tl_finetune::{Metric, Schedule};
use tl_heads::{Pool, Task};
use tl_torch::Fill;

use crate::errors::Problems;
use crate::prepare;
use crate::spec::{Net, Outputs, Resolved, Spec};

/// Checks all that needs no more than shapes and the classes, if those are known.
pub(crate) fn check(resolved: &Resolved, classes: Option<&[String]>, problems: &mut Problems) {
    let Resolved { spec, .. } = resolved;
    if let Net::Image(card) = &resolved.net {
        if let Some(size) = spec.image_size {
            problems.take(card.check_size(size).map_err(anyhow::Error::from));
        }
        weights(spec, card, problems);
    }
    if (spec.head.pool == Pool::Tokens) != (spec.outputs == Outputs::Tags) {
        let hint = match spec.outputs {
            Outputs::Tags => "hint: leave it out, or begin it with tokens, as in tokens-256",
            _ => "hint: gap, cls, max or last",
        };
        let (does, needs) = match spec.outputs {
            Outputs::Tags => ("answers for each text", "an answer for each word"),
            _ => ("answers for each token", "one answer a text"),
        };
        problems.add(anyhow::anyhow!(
            "--head {} {does}, and a run with --classes {} needs {needs}\n\n{hint}",
            spec.head,
            spec.outputs.word()
        ));
    }
    if let Some(classes) = classes {
        problems.take(count(resolved, classes.len()));
        problems.take(task(spec, classes));
    }
    let Some((net, observed)) = problems.take(shapes(resolved)) else { return };
    let features = tl_train::features(&net, &observed, net.stages.len());
    problems.take(spec.head.pool.width(features).map_err(anyhow::Error::from));
    let net = tl_train::net_info(&net, &observed);
    if let Some(schedule) = problems.take(prepare::schedule(resolved, &net)) {
        metrics(spec, classes, &schedule, problems);
        // The size of the head does not decide whether a plan is sound.
        problems.take(schedule.plan(&net, 1).map_err(anyhow::Error::from));
    }
}

/// The net without values, as its smallest input meets it.
pub(crate) fn shapes(resolved: &Resolved) -> anyhow::Result<(Backbone, Observed)> {
    match &resolved.net {
        Net::Image(card) => {
            let net = Backbone::new(card, Device::Cpu, Fill::Shapes)?;
            let observed = net.observe(card.min_size);
            Ok((net, observed))
        }
        Net::Text(text) => {
            let length = resolved.spec.text.as_ref().map_or(0, |text| text.max_length);
            let most = text.config.max_tokens().unwrap_or(i64::MAX);
            anyhow::ensure!(
                length >= 3 && length as i64 <= most,
                "--max-length is {length}, expected 3 to {most}: backbone `{}` takes no more",
                text.name
            );
            let lora = text.lora_of(&resolved.spec);
            let net = Backbone::text_shapes(&text.name, &text.config, lora.as_ref())?;
            let observed = net.observe_text(3);
            Ok((net, observed))
        }
    }
}

fn weights(spec: &Spec, card: &'static Card, problems: &mut Problems) {
    let published = card.find_weights(&spec.weights).is_some();
    if !published && !Path::new(&spec.weights).exists() {
        problems.add(prepare::unknown_weights(card, &spec.weights).into());
    }
    if published && spec.partial_weights {
        let hint = "hint: published weights fit whole; leave it out, or give a file with --weights FILE";
        problems.add(anyhow::anyhow!("--partial-weights without a file of weights\n\n{hint}"));
    }
}

/// A number of classes that was given is the folder's.
fn count(resolved: &Resolved, classes: usize) -> anyhow::Result<()> {
    match resolved.classes {
        Some(expected) if expected != classes => {
            anyhow::bail!("--classes is {expected}, the folder has {classes} classes")
        }
        _ => Ok(()),
    }
}

/// Everything that is watched can be measured of such answers.
fn metrics(spec: &Spec, classes: Option<&[String]>, schedule: &Schedule, problems: &mut Problems) {
    let measured = tl_train::measured(any_task(spec.outputs, classes));
    let mut check = |what: &str, metric: Metric| {
        if !measured.contains(&metric) {
            let names: Vec<&str> = measured.iter().map(|metric| metric.name()).collect();
            problems.add(anyhow::anyhow!(
                "{what} is {metric}, which cannot be measured with --classes {}{}\n\nhint: there are {}",
                spec.outputs.word(),
                match spec.outputs {
                    Outputs::Tags if classes.is_some_and(|tags| !marks_entities(tags)) =>
                        " that mark no entities",
                    Outputs::Tags => " that mark entities",
                    _ => "",
                },
                names.join(", ")
            ));
        }
    };
    if let Some(metric) = spec.monitor {
        check("--monitor", metric);
    }
    for phase in &schedule.phases {
        let stopping = phase.early_stopping.and_then(|stopping| stopping.metric);
        for metric in stopping.into_iter().chain(phase.curve.metric()) {
            check(&format!("phase `{}`: `metric`", phase.name), metric);
        }
    }
}

/// A task of that kind, of whatever size.
fn any_task(outputs: Outputs, classes: Option<&[String]>) -> Task {
    match outputs {
        Outputs::Softmax => Task::Softmax { classes: 2 },
        Outputs::Binary => Task::Binary,
        Outputs::MultiLabel => Task::MultiLabel { labels: 1 },
        Outputs::Regression => Task::Regression { targets: 1 },
        Outputs::Tags => Task::Tagging { tags: 1, entities: classes.is_none_or(marks_entities) },
    }
}

/// Whether these are tags of entities, and not of single words. What are no tags at all is said elsewhere.
fn marks_entities(tags: &[String]) -> bool {
    tl_text::entities::TagSet::of(tags).is_ok_and(|set| set.marks_entities())
}

/// What the outputs mean for these classes, labels, numbers or tags.
pub(crate) fn task(spec: &Spec, names: &[String]) -> anyhow::Result<Task> {
    let classes = names.len();
    match spec.outputs {
        Outputs::Softmax => Ok(Task::Softmax { classes: classes as i64 }),
        Outputs::MultiLabel => Ok(Task::MultiLabel { labels: classes as i64 }),
        Outputs::Regression => Ok(Task::Regression { targets: classes as i64 }),
        Outputs::Tags => Ok(Task::Tagging { tags: classes as i64, entities: marks_entities(names) }),
        Outputs::Binary if classes == 2 => Ok(Task::Binary),
        Outputs::Binary => anyhow::bail!(
            "--classes binary is for two classes, the folder has {classes}\n\nhint: leave --classes out"
        ),
    }
}
