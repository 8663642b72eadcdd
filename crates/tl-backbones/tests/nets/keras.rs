//! Layers are counted as Keras counts them, for the nets that tutorials freeze by number: `layers[-4:]`, `layers[:100]`.
//! The lists are made by `tests/golden/make_keras.py` at the top of the project.

use tch::Device;
use tl_backbones::{Backbone, find};
use tl_torch::Fill;

#[test]
fn vgg_and_resnet_have_the_layers_of_keras() {
    let mut nets = 0;
    for line in include_str!("../data/keras_layers.txt").lines() {
        let (name, keras) = line.split_once(' ').unwrap();
        let net = Backbone::new(find(name).unwrap(), Device::Cpu, Fill::Shapes).unwrap();
        let layers = net.observe(64).layers;
        let keras: Vec<(&str, usize)> = keras
            .split(' ')
            .map(|layer| layer.split_once(':').unwrap())
            .map(|(class, params)| (class, params.parse().unwrap()))
            .collect();
        assert_eq!(layers.len(), keras.len(), "{name}");
        for (i, (layer, (class, params))) in layers.iter().zip(keras).enumerate() {
            let kind = match class {
                "InputLayer" => "Input",
                "Conv2D" => "Conv2d",
                "BatchNormalization" => "BatchNorm2d",
                "Activation" => "ReLU",
                "Add" => "Add",
                "ZeroPadding2D" => "ZeroPad2d",
                "MaxPooling2D" => "MaxPool2d",
                class => class,
            };
            let values = |tensors: &[tl_torch::Param]| tensors.iter().map(|param| param.tensor.numel()).sum();
            let mut ours: usize = values(net.store.slice(layer.params.clone()));
            // In ResNet, Keras gives its convolutions a bias, which the norm behind them makes superfluous.
            if kind == "Conv2d" && name.starts_with("resnet") {
                ours += layer.output[0] as usize;
            }
            assert_eq!((layer.kind, ours), (kind, params), "{name} layers[{i}] {}", layer.name);
        }
        nets += 1;
    }
    assert_eq!(nets, 5);
}
