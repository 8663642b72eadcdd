//! Parts of a net by name: one small language for stages, blocks and layers, from which a set of layers is selected.
//!
//! The decision behind it: a part is exactly what it says or an error. Numbers are not clipped to what there is, and
//! a part that would train nothing is refused, because a net that is frozen by mistake trains without complaint. The
//! language is described at [`select`].

use crate::net::{LayerInfo, NetInfo};

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Nothing has this name.
    #[error("part `{part}`: no stage, block or layer has this name{}", known(.did_you_mean, .stages))]
    Unknown {
        /// The part.
        part: String,
        /// The nearest name, or a pattern for names that begin like this.
        did_you_mean: Option<String>,
        /// Names of the stages.
        stages: String,
    },
    /// A range begins or ends at what is no stage.
    #[error("part `{part}`: a range goes from stage to stage, and {}; the stages are {stages}", not_stages(.unknown))]
    UnknownStages {
        /// The part.
        part: String,
        /// The names, each with the nearest name of a stage.
        unknown: Vec<(String, Option<String>)>,
        /// Names of the stages.
        stages: String,
    },
    /// A range ends before it begins.
    #[error("part `{part}`: `{last}` comes before `{first}`; hint: `{last}..{first}`")]
    Backwards {
        /// The part.
        part: String,
        /// Where the range begins.
        first: String,
        /// Where it ends.
        last: String,
    },
    /// A pattern that no layer has.
    #[error("part `{part}`: no layer has a name like this{}", like(.near))]
    NoMatch {
        /// The part.
        part: String,
        /// Names of layers that nearly fit.
        near: Vec<String>,
    },
    /// More is asked for than there is.
    #[error("part `{part}`: the net has only {have} {unit}")]
    Beyond {
        /// The part.
        part: String,
        /// How many there are,
        have: usize,
        /// of what.
        unit: &'static str,
    },
    /// The last 0 of something.
    #[error("part `{part}`: it asks for the last 0 {unit}, expected at least 1")]
    Zero {
        /// The part.
        part: String,
        /// Of what.
        unit: &'static str,
    },
    /// A slice that ends where it begins, or before.
    #[error("part `{part}`: it covers no layer; hint: `layers[A:B]` goes from layer A to the one before B")]
    EmptySlice {
        /// The part.
        part: String,
    },
    /// There are layers, and none has parameters.
    #[error("part `{part}`: it has no parameters, so there is nothing to train")]
    NoParams {
        /// The part.
        part: String,
    },
    /// It begins like one of the forms and does not go on like it.
    #[error("part `{part}`: expected {expected}")]
    Form {
        /// The part.
        part: String,
        /// The form.
        expected: &'static str,
    },
}

fn known(did_you_mean: &Option<String>, stages: &str) -> String {
    match did_you_mean {
        Some(name) => format!(", did you mean `{name}`? The stages are {stages}"),
        None => format!("; the stages are {stages}"),
    }
}

fn like(near: &[String]) -> String {
    match near {
        [] => "; hint: `tl summary` lists the layers".to_owned(),
        near => {
            let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
            format!("; hint: nearest are {}", names.join(", "))
        }
    }
}

fn not_stages(unknown: &[(String, Option<String>)]) -> String {
    let text = |(name, near): &(String, Option<String>)| match near {
        _ if name == "head" => "`head` is a part of its own".to_owned(),
        Some(near) => format!("`{name}` is none (did you mean `{near}`?)"),
        None => format!("`{name}` is none"),
    };
    unknown.iter().map(text).collect::<Vec<_>>().join(" and ")
}

/// For each layer of the net whether `part` covers it. Only layers that have parameters are covered; `head` covers none.
///
/// | part | covers |
/// |---|---|
/// | `head` | the new head, and no layer of the net |
/// | `all` | all stages |
/// | `stage4` | the stage of this name; else the block (`layer4.2`), else the layer (`layer4.2.conv1`) |
/// | `layer4.*.conv1` | layers by full name; `*` stands for any characters, dots included, or none |
/// | `layer3..` | stages from this one to the last |
/// | `stage2..stage4` | stages from the first to the second, both included |
/// | `last-N-stages`, `last-N-blocks`, `last-N-layers` | the N nearest to the output |
/// | `last-N-weight-layers` | the same, counting only layers that have parameters |
/// | `layers[A:B]` | layers by index as in Python: from 0, B excluded, negative from the end, either may be left out |
///
/// The singular is as good as the plural (`last-1-stage`). A name of the net goes before the other forms, except for
/// `head` and `all`.
///
/// A layer is an entry of [`NetInfo::layers`]. Those without parameters count in `last-N-layers` and in `layers[A:B]`,
/// as in `model.layers` of Keras, and `last-4-layers` is `layers[-4:]`. The head does not count. Positive indices are
/// those of Keras if the list begins with what Keras's begins with, its input layer. Unlike in Python, an index
/// outside the list is an error.
///
/// # Errors
/// The part is none of these, names what the net has not, or covers no layer with parameters.
pub fn select(net: &NetInfo, part: &str) -> Result<Vec<bool>, PartError> {
    Ok(match resolve(net, part)? {
        Covered::Head => vec![false; net.layers.len()],
        Covered::Layers(covered) => covered,
    })
}

/// What a part stands for in a net.
pub(crate) enum Covered {
    Head,
    /// By layer; at least one, and only layers that have parameters.
    Layers(Vec<bool>),
}

/// A part by its form, not yet looked up.
#[derive(Debug, PartialEq)]
enum Form<'a> {
    Head,
    All,
    Last { count: usize, unit: Unit },
    Slice { start: Option<i64>, end: Option<i64> },
    Range { first: &'a str, last: Option<&'a str> },
    Glob,
    Name,
}

/// What `last-N-…` counts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Stages,
    Blocks,
    Layers,
    WeightLayers,
}

impl Unit {
    const ALL: [Self; 4] = [Self::Stages, Self::Blocks, Self::Layers, Self::WeightLayers];

    fn name(self) -> &'static str {
        match self {
            Self::Stages => "stages",
            Self::Blocks => "blocks",
            Self::Layers => "layers",
            Self::WeightLayers => "weight-layers",
        }
    }

    /// For every layer, which of its kind it is or lies in, counted from the input; and how many there are.
    fn positions(self, net: &NetInfo) -> (Vec<usize>, usize) {
        let blocks =
            |stages: usize| net.stages.iter().take(stages).map(|stage| stage.blocks.len()).sum::<usize>();
        let weights = |layers: usize| net.layers.iter().take(layers).filter(|layer| layer.params > 0).count();
        let position = |(i, layer): (usize, &LayerInfo)| match self {
            Self::Stages => layer.stage,
            Self::Blocks => blocks(layer.stage) + layer.block,
            Self::Layers => i,
            Self::WeightLayers => weights(i),
        };
        let have = match self {
            Self::Stages => net.stages.len(),
            Self::Blocks => blocks(net.stages.len()),
            Self::Layers => net.layers.len(),
            Self::WeightLayers => weights(net.layers.len()),
        };
        (net.layers.iter().enumerate().map(position).collect(), have)
    }
}

/// Reads the form of a part. What is none of the others is a name.
fn parse(part: &str) -> Result<Form<'_>, PartError> {
    let form = |expected| PartError::Form { part: part.to_owned(), expected };
    if let Some(rest) = part.strip_prefix("last-") {
        let (count, unit) = last(rest).ok_or_else(|| {
            form("`last-N-stages`, `last-N-blocks`, `last-N-layers` or `last-N-weight-layers`, N a number from 1")
        })?;
        return match count {
            0 => Err(PartError::Zero { part: part.to_owned(), unit: unit.name() }),
            _ => Ok(Form::Last { count, unit }),
        };
    }
    if part.contains(['[', ']']) {
        let (start, end) = slice(part)
            .ok_or_else(|| form("`layers[A:B]`, A and B whole numbers or left out, as `layers[-4:]`"))?;
        return Ok(Form::Slice { start, end });
    }
    if let Some((first, last)) = part.split_once("..") {
        if first.is_empty() {
            return Err(form("`FIRST..` or `FIRST..LAST`, both names of stages"));
        }
        return Ok(Form::Range { first, last: Some(last).filter(|last| !last.is_empty()) });
    }
    Ok(match part {
        "head" => Form::Head,
        "all" => Form::All,
        _ if part.contains('*') => Form::Glob,
        _ => Form::Name,
    })
}

/// `N-UNIT`, the unit in the plural or the singular.
fn last(rest: &str) -> Option<(usize, Unit)> {
    let (count, unit) = rest.split_once('-')?;
    let is = |candidate: &Unit| {
        let plural = candidate.name();
        unit == plural || Some(unit) == plural.strip_suffix('s')
    };
    let unit = Unit::ALL.into_iter().find(is)?;
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for the type is too large for any net.
    digits.then(|| (count.parse().unwrap_or(usize::MAX), unit))
}

/// `layers[A:B]`.
fn slice(part: &str) -> Option<(Option<i64>, Option<i64>)> {
    let (start, end) = part.strip_prefix("layers[")?.strip_suffix(']')?.split_once(':')?;
    let index = |text: &str| match text.trim() {
        "" => Some(None),
        text => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let magnitude: i64 = digits.parse().unwrap_or(i64::MAX);
            number.then_some(Some(if digits.len() < text.len() { -magnitude } else { magnitude }))
        }
    };
    Some((index(start)?, index(end)?))
}

/// Looks a part up in the net.
pub(crate) fn resolve(net: &NetInfo, part: &str) -> Result<Covered, PartError> {
    let part = part.trim();
    let named = if ["head", "all"].contains(&part) { None } else { by_name(net, part) };
    let mut covered = match named {
        Some(covered) => covered,
        None => match parse(part)? {
            Form::Head => return Ok(Covered::Head),
            Form::All => vec![true; net.layers.len()],
            Form::Last { count, unit } => by_count(net, part, count, unit)?,
            Form::Slice { start, end } => by_index(net, part, start, end)?,
            Form::Range { first, last } => by_stages(net, part, first, last)?,
            Form::Glob => by_glob(net, part)?,
            Form::Name => return Err(unknown(net, part)),
        },
    };
    covered.iter_mut().zip(&net.layers).for_each(|(covered, layer)| *covered &= layer.params > 0);
    if covered.contains(&true) {
        Ok(Covered::Layers(covered))
    } else {
        Err(PartError::NoParams { part: part.to_owned() })
    }
}

fn mask(net: &NetInfo, covers: impl Fn(&LayerInfo) -> bool) -> Vec<bool> {
    net.layers.iter().map(covers).collect()
}

fn stage_index(net: &NetInfo, name: &str) -> Option<usize> {
    net.stages.iter().position(|stage| stage.name == name)
}

fn by_name(net: &NetInfo, name: &str) -> Option<Vec<bool>> {
    if let Some(stage) = stage_index(net, name) {
        return Some(mask(net, |layer| layer.stage == stage));
    }
    for (stage, info) in net.stages.iter().enumerate() {
        if let Some(block) = info.blocks.iter().position(|block| block == name) {
            return Some(mask(net, |layer| (layer.stage, layer.block) == (stage, block)));
        }
    }
    let covered = mask(net, |layer| layer.name == name);
    covered.contains(&true).then_some(covered)
}

fn by_count(net: &NetInfo, part: &str, count: usize, unit: Unit) -> Result<Vec<bool>, PartError> {
    let (positions, have) = unit.positions(net);
    let beyond = || PartError::Beyond { part: part.to_owned(), have, unit: unit.name() };
    let skipped = have.checked_sub(count).ok_or_else(beyond)?;
    Ok(positions.into_iter().map(|position| position >= skipped).collect())
}

fn by_index(net: &NetInfo, part: &str, start: Option<i64>, end: Option<i64>) -> Result<Vec<bool>, PartError> {
    let have = net.layers.len();
    let beyond = || PartError::Beyond { part: part.to_owned(), have, unit: "layers" };
    let index = |given: i64| {
        let magnitude = usize::try_from(given.unsigned_abs()).ok().filter(|n| *n <= have)?;
        Some(if given < 0 { have - magnitude } else { magnitude })
    };
    let start = start.map_or(Some(0), index).ok_or_else(beyond)?;
    let end = end.map_or(Some(have), index).ok_or_else(beyond)?;
    if start >= end {
        return Err(PartError::EmptySlice { part: part.to_owned() });
    }
    Ok((0..have).map(|i| (start..end).contains(&i)).collect())
}

fn by_stages(net: &NetInfo, part: &str, first: &str, last: Option<&str>) -> Result<Vec<bool>, PartError> {
    let names = net.stages.iter().map(|stage| stage.name.as_str());
    let is_unknown = |name: &&str| stage_index(net, name).is_none();
    let unknown: Vec<(String, Option<String>)> = [Some(first), last]
        .into_iter()
        .flatten()
        .filter(is_unknown)
        .map(|name| (name.to_owned(), nearest(name, names.clone())))
        .collect();
    let ends =
        (stage_index(net, first), last.map_or(net.stages.len().checked_sub(1), |l| stage_index(net, l)));
    match ends {
        (Some(from), Some(to)) if from <= to => Ok(mask(net, |layer| (from..=to).contains(&layer.stage))),
        (Some(_), Some(_)) => Err(PartError::Backwards {
            part: part.to_owned(),
            first: first.to_owned(),
            last: last.unwrap_or_default().to_owned(),
        }),
        _ => Err(PartError::UnknownStages { part: part.to_owned(), unknown, stages: net.stage_names() }),
    }
}

fn by_glob(net: &NetInfo, glob: &str) -> Result<Vec<bool>, PartError> {
    let covered = mask(net, |layer| matches(glob, &layer.name));
    if covered.contains(&true) {
        Ok(covered)
    } else {
        Err(PartError::NoMatch { part: glob.to_owned(), near: near_glob(net, glob) })
    }
}

/// Whether `name` is `glob` with something in the place of each `*`.
fn matches(glob: &str, name: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The first place is as good as any: it leaves the most for what follows.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// At most three of the layers with parameters that most nearly fit the pattern, if with edits of at most a third of
/// its letters.
fn near_glob(net: &NetInfo, glob: &str) -> Vec<String> {
    let letters = glob.chars().filter(|c| *c != '*').count();
    let near: Vec<(usize, &str)> = net
        .layers
        .iter()
        .filter(|layer| layer.params > 0)
        .map(|layer| (edits(glob, &layer.name), layer.name.as_str()))
        .filter(|(edits, _)| 3 * edits <= letters)
        .collect();
    let least = near.iter().map(|(edits, _)| *edits).min();
    let nearest = near.into_iter().filter(|(edits, _)| Some(*edits) == least);
    nearest.take(3).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters have to be put in, left out or replaced until the pattern fits the name: the distance of
/// Levenshtein, in which `*` takes any characters for nothing.
fn edits(glob: &str, name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for pattern in glob.chars() {
        let mut next = vec![row[0] + usize::from(pattern != '*')];
        for (i, c) in name.iter().enumerate() {
            let least = match pattern {
                '*' => row[i + 1].min(next[i]),
                _ => (row[i] + usize::from(pattern != *c)).min(row[i + 1] + 1).min(next[i] + 1),
            };
            next.push(least);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn unknown(net: &NetInfo, part: &str) -> PartError {
    let stages = net.stages.iter().map(|stage| stage.name.as_str());
    let blocks = net.stages.iter().flat_map(|stage| &stage.blocks).map(String::as_str);
    let layers = net.layers.iter().map(|layer| layer.name.as_str());
    let names = stages.chain(["head", "all"]).chain(blocks).chain(layers);
    PartError::Unknown {
        part: part.to_owned(),
        did_you_mean: beginning(net, part).or_else(|| nearest(part, names)),
        stages: net.stage_names(),
    }
}

/// A pattern for the layers with parameters whose names go on from `name` (`layer4.0.downsample`, `block5`).
fn beginning(net: &NetInfo, name: &str) -> Option<String> {
    let begins = |separator: &&str| {
        let start = format!("{name}{separator}");
        net.layers.iter().any(|layer| layer.params > 0 && layer.name.starts_with(&start))
    };
    [".", "_"].iter().filter(|_| !name.is_empty()).find(|s| begins(s)).map(|s| format!("{name}{s}*"))
}

/// The name most like `name`, the first of several, if one is like it at all.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.5)
        .min_by(|a, b| b.0.total_cmp(&a.0))
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
