//! A net as a plan needs to know it: stages, blocks and layers by name and size, without a tensor.
//!
//! The decision behind it: the layer is the unit that trains or is frozen. A stage and a block are names for layers
//! that lie together, so all three grains mean the same in every net.

/// A net without its head. Everything is in forward order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetInfo {
    /// Its stages.
    pub stages: Vec<StageInfo>,
    /// Its layers, those without parameters included.
    pub layers: Vec<LayerInfo>,
    /// Whether it takes texts, for the words of a plan.
    pub texts: bool,
}

/// A stage: what the frontier moves over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// Its name, unique in the net.
    pub name: String,
    /// Names of its blocks (`layer4.2`), unique in the net.
    pub blocks: Vec<String>,
}

/// A layer: the smallest thing that trains or is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Its full name (`layer4.2.conv1`), unique in the net.
    pub name: String,
    /// Index of its stage in [`NetInfo::stages`].
    pub stage: usize,
    /// Index of its block in [`StageInfo::blocks`] of its stage.
    pub block: usize,
    /// Number of values that can train, those of norms included; 0 for pooling, activation, addition.
    pub params: usize,
    /// Of [`LayerInfo::params`], the scales and shifts of norms, which train only with
    /// [`BatchNorm::Train`](crate::BatchNorm::Train).
    pub norm_params: usize,
}

impl NetInfo {
    /// Indices of the stages that have parameters.
    pub(crate) fn stages_with_params(&self) -> Vec<usize> {
        let has_params = |stage: &usize| self.weight_layers(*stage).next().is_some();
        (0..self.stages.len()).filter(has_params).collect()
    }

    /// Names of the stages that have parameters other than those of norms: what a schedule can name as it stands.
    pub(crate) fn stages_to_train(&self) -> Vec<&str> {
        let trains = |stage: &usize| {
            self.layers.iter().any(|layer| layer.stage == *stage && layer.params > layer.norm_params)
        };
        (0..self.stages.len()).filter(trains).map(|stage| self.stages[stage].name.as_str()).collect()
    }

    /// Indices of the layers of a stage that have parameters.
    pub(crate) fn weight_layers(&self, stage: usize) -> impl Iterator<Item = usize> {
        let layers = self.layers.iter().enumerate();
        layers.filter(move |(_, layer)| layer.stage == stage && layer.params > 0).map(|(i, _)| i)
    }

    /// Names of all stages, for messages.
    pub(crate) fn stage_names(&self) -> String {
        self.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}
