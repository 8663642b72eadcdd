//! Nets for tests, by name and size only: what Keras and torchvision list for nets that they have too.

use crate::{LayerInfo, NetInfo, StageInfo};

/// A net in the making.
struct Build(NetInfo);

impl Build {
    fn stage(&mut self, name: &str) {
        self.0.stages.push(StageInfo { name: name.to_owned(), blocks: Vec::new() });
    }

    /// Adds a block to the last stage: layers by name, values and values of norms.
    fn block(&mut self, name: &str, layers: &[(&str, usize, usize)]) {
        let stage = self.0.stages.len() - 1;
        let blocks = &mut self.0.stages[stage].blocks;
        blocks.push(name.to_owned());
        let block = blocks.len() - 1;
        let layer = |(name, params, norm_params): &(&str, usize, usize)| LayerInfo {
            name: (*name).to_owned(),
            stage,
            block,
            params: *params,
            norm_params: *norm_params,
        };
        self.0.layers.extend(layers.iter().map(layer));
    }
}

/// Three stages of one convolution, one norm and one activation each.
pub(crate) fn tiny() -> NetInfo {
    let mut net = Build(NetInfo::default());
    for (stage, conv, norm) in [("stem", 10, 1), ("stage1", 200, 2), ("stage2", 3000, 3)] {
        net.stage(stage);
        let name = |layer: &str| format!("{stage}.{layer}");
        net.block(&name("0"), &[(&name("conv"), conv, 0), (&name("bn"), norm, norm), (&name("act"), 0, 0)]);
    }
    net.0
}

/// VGG16 as `keras.applications.VGG16(include_top=False)` lists it, without the input layer.
pub(crate) fn vgg16() -> NetInfo {
    let mut net = Build(NetInfo::default());
    let mut inputs = 3;
    for (i, (convs, channels)) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)].into_iter().enumerate() {
        let n = i + 1;
        net.stage(&format!("stage{n}"));
        let names: Vec<String> = (1..=convs).map(|conv| format!("block{n}_conv{conv}")).collect();
        let mut layers = Vec::new();
        for name in &names {
            layers.push((name.as_str(), 9 * inputs * channels + channels, 0));
            inputs = channels;
        }
        let pool = format!("block{n}_pool");
        layers.push((&pool, 0, 0));
        net.block(&format!("block{n}"), &layers);
    }
    net.0
}

/// VGG16 with the input layer that Keras lists first.
pub(crate) fn vgg16_with_input() -> NetInfo {
    let mut net = vgg16();
    let input = LayerInfo { name: "input_layer".to_owned(), stage: 0, block: 0, params: 0, norm_params: 0 };
    net.layers.insert(0, input);
    net
}

/// The plan of a residual net: a stem, a stage that only pools, and four stages of two blocks.
pub(crate) fn resnet() -> NetInfo {
    let mut net = Build(NetInfo::default());
    net.stage("stem");
    net.block("stem", &[("conv1", 900, 0), ("bn1", 20, 20), ("relu", 0, 0)]);
    net.stage("pool");
    net.block("maxpool", &[("maxpool", 0, 0)]);
    for stage in 1..=4 {
        net.stage(&format!("layer{stage}"));
        for block in 0..2 {
            let block = format!("layer{stage}.{block}");
            let names = ["conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1", "add", "relu"]
                .map(|layer| format!("{block}.{layer}"));
            let sizes = [(90, 0), (8, 8), (90, 0), (8, 8), (40, 0), (8, 8), (0, 0), (0, 0)];
            let first = block.ends_with('0');
            let layers: Vec<(&str, usize, usize)> = names
                .iter()
                .zip(sizes)
                .filter(|(name, _)| first || !name.contains("downsample"))
                .map(|(name, (params, norms))| (name.as_str(), params, norms))
                .collect();
            net.block(&block, &layers);
        }
    }
    net.0
}
