//! A head of one's own on features that are made up here: `cargo run --release -p tl-heads --example custom_head -- HEAD`,
//! HEAD being words such as `gap-64-gelu-drop0.2`.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use tch::{Device, Kind, Tensor};
use tl_heads::{Features, Head, HeadSpec, LossOptions, Task, Training};
use tl_torch::{Fill, Role, uniform};

const IMAGES: i64 = 96;
const CLASSES: i64 = 3;
const RATE: f64 = 0.1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec: HeadSpec = std::env::args().nth(1).unwrap_or_else(|| "concat-32-silu-bn".to_owned()).parse()?;
    let task = Task::Softmax { classes: CLASSES };
    let maps = Features::Map { channels: 8, height: 4, width: 4 };
    let head = Head::new(spec, maps, task.outputs(), 0.1, (Device::Cpu, Fill::Seed(42)))?;
    for layer in head.layers() {
        println!("{:14} {:26} {:?}, {} parameters", layer.name, layer.kind, layer.output, layer.params);
    }

    let (features, labels) = made_up();
    // Without parameters, so once is enough.
    let pooled = head.pool(&features);
    let params: Vec<Tensor> = head
        .store
        .iter()
        .filter(|param| param.role != Role::Buffer)
        .map(|param| param.tensor.set_requires_grad(true))
        .collect();
    for step in 0..60 {
        let logits = head.forward(&pooled, Some(Training::from(step)));
        let loss = task.loss(&logits, &labels, LossOptions::default());
        loss.backward();
        tch::no_grad(|| {
            for param in &params {
                let mut param = param.shallow_clone();
                let moved = &param - param.grad() * RATE;
                param.copy_(&moved);
                param.zero_grad();
            }
        });
        if step % 20 == 19 {
            println!("step {:2}: loss {:.4}", step + 1, loss.double_value(&[]));
        }
    }
    let said = task.probabilities(&tch::no_grad(|| head.forward(&pooled, None))).argmax(1, false);
    let right = said.eq_tensor(&labels).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
    println!("{:.1} % of {IMAGES} are right", 100.0 * right);
    Ok(())
}

/// Maps `[N, 8, 4, 4]` of noise in which the channel of the class is brighter, and the classes.
fn made_up() -> (Tensor, Tensor) {
    let noise = uniform(42, "features", (IMAGES * 8 * 16) as usize, 1.0);
    let features = Tensor::from_slice(&noise).view([IMAGES, 8, 4, 4]);
    let labels = Tensor::arange(IMAGES, (Kind::Int64, Device::Cpu)).remainder(CLASSES);
    let brighter = labels.one_hot(8).to_kind(Kind::Float).view([IMAGES, 8, 1, 1]) * 0.5;
    (features + brighter, labels)
}
