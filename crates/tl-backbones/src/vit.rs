//! Vision transformers: ViT (Dosovitskiy et al. 2020, arXiv:2010.11929; weights of Steiner et al. 2021,
//! arXiv:2106.10270) and DINOv2 (Oquab et al. 2023, arXiv:2304.07193).
//!
//! The stem makes tokens; the encoder's layers are the blocks of four stages, so that schedules mean the same as in
//! convolutional nets. For images of another size than the one it was trained on, the position embedding is resized
//! (bicubic, antialiased), as timm does. Names are timm's.

use tch::Tensor;
use tl_torch::{Init, Role, Scope};
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Net, Tokens, Top, TopPool, Weights, as_published, swap_prefix};
use crate::layers::{Act, Add, Attention, Conv, ConvSpec, LayerNorm, Linear, LinearSpec, Scale, Tag};
use crate::stage::{Block, Mode, STAGES, Stage};

const EPS: f64 = 1e-6;
const DEPTH: usize = 12;
const BLOCKS_IN_STAGE: usize = 3;
/// Tokens before the patches: the class token.
const PREFIX: i64 = 1;

#[derive(Clone, Copy, Debug)]
struct Shape {
    width: i64,
    heads: i64,
    patch: i64,
    /// Patches a side of the images it was trained on.
    grid: i64,
    scales: bool,
}

const SMALL: Shape = Shape { width: 384, heads: 6, patch: 16, grid: 14, scales: false };
const BASE: Shape = Shape { width: 768, heads: 12, ..SMALL };
const DINO_SMALL: Shape = Shape { patch: 14, grid: 37, scales: true, ..SMALL };
const DINO_BASE: Shape = Shape { width: 768, heads: 12, ..DINO_SMALL };

const fn card(
    name: &'static str,
    paper: &'static str,
    stages: Net,
    (features, params, macs): (i64, usize, u64),
    (top, patch): (Option<Top>, u32),
) -> Card {
    let tokens = Some(Tokens { patch, prefix: PREFIX });
    Card {
        name,
        paper,
        stages,
        neck: None,
        features,
        params,
        macs,
        top,
        tokens,
        min_size: patch,
        weights: &[],
    }
}

const TOP: Top = Top { pool: TopPool::Class, hidden: &[], last: "head" };
/// 224 pixels out of 248, to ±1.
const AUGREG: Input = Input::BICUBIC.sized(224, 248).halves();
const DINO: Input = Input::BICUBIC.sized(518, 518);

const fn unlabelled(name: &'static str, repo: &'static str) -> Weights {
    Weights {
        name,
        source: Source::hub(repo, "main", "model.safetensors"),
        sha256: None,
        rename: as_published,
        net: None,
        licence: "Apache-2.0",
        classes: 0,
        input: DINO,
        top1: None,
    }
}

pub(crate) static VIT_S: Card = Card {
    weights: &[
        Weights::hub(
            "augreg-in21k-ft-in1k",
            "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
            "Apache-2.0",
            AUGREG,
            81.384,
        ),
        Weights::hub("augreg-in1k", "timm/vit_small_patch16_224.augreg_in1k", "Apache-2.0", AUGREG, 78.846),
    ],
    ..card("vit-small-patch16", "arXiv:2010.11929", vit_s, (384, 21_665_664, 4_598_498_304), (Some(TOP), 16))
};
pub(crate) static VIT_B: Card = Card {
    weights: &[
        Weights::hub(
            "augreg2-in21k-ft-in1k",
            "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
            "Apache-2.0",
            AUGREG,
            85.096,
        ),
        Weights::hub(
            "augreg-in21k-ft-in1k",
            "timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
            "Apache-2.0",
            AUGREG,
            84.532,
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/vit_b_16-c867db91.pth", "c867db91"),
            from_torchvision,
            Input::TORCHVISION,
            81.072,
        ),
    ],
    ..card("vit-base-patch16", "arXiv:2010.11929", vit_b, (768, 85_798_656, 17_563_060_224), (Some(TOP), 16))
};
pub(crate) static DINOV2_S: Card = Card {
    weights: &[unlabelled("lvd142m", "timm/vit_small_patch14_dinov2.lvd142m")],
    ..card("dinov2-small", "arXiv:2304.07193", dinov2_s, (384, 22_056_192, 46_696_739_328), (None, 14))
};
pub(crate) static DINOV2_B: Card = Card {
    weights: &[unlabelled("lvd142m", "timm/vit_base_patch14_dinov2.lvd142m")],
    ..card("dinov2-base", "arXiv:2304.07193", dinov2_b, (768, 86_579_712, 151_573_718_016), (None, 14))
};

fn vit_s(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, SMALL)
}

fn vit_b(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, BASE)
}

fn dinov2_s(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, DINO_SMALL)
}

fn dinov2_b(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, DINO_BASE)
}

/// An image to tokens: patches, class token, position.
#[derive(Debug)]
struct Embedding {
    patches: Conv,
    class: Tensor,
    position: Tensor,
    grid: i64,
    tag: Tag,
}

impl Embedding {
    fn new(scope: &Scope<'_>, shape: Shape) -> Self {
        let Shape { width, patch, grid, .. } = shape;
        let spec = ConvSpec::new(3, width, patch).stride(patch).unpadded();
        let patches = Conv::new(scope, "patch_embed.proj", spec, Act::None);
        let start = scope.defined();
        // As timm and the paper: 0.02 wide (here uniform), the class token near zero.
        let class = scope.param("cls_token", &[1, PREFIX, width], Role::Undecayed, Init::Zeros);
        let init = Init::FanIn { gain: 1.0, fan_in: 2500 };
        let position = scope.param("pos_embed", &[1, PREFIX + grid * grid, width], Role::Undecayed, init);
        let tag = Tag { name: "pos_embed".to_owned(), params: start..scope.defined() };
        Self { patches, class, position, grid, tag }
    }

    /// The position embedding for a grid of `h` × `w` patches.
    fn position(&self, h: i64, w: i64) -> Tensor {
        if (h, w) == (self.grid, self.grid) {
            return self.position.shallow_clone();
        }
        let width = self.position.size()[2];
        let patches = self.position.narrow(1, PREFIX, self.grid * self.grid);
        let map = patches.reshape([1, self.grid, self.grid, width]).permute([0, 3, 1, 2]);
        let map = map.internal_upsample_bicubic2d_aa([h, w], false, None, None);
        let patches = map.permute([0, 2, 3, 1]).reshape([1, h * w, width]);
        Tensor::cat(&[self.position.narrow(1, 0, PREFIX), patches], 1)
    }
}

impl Block for Embedding {
    /// `[N, 3, H, W]` to `[N, 1 + H / patch · W / patch, C]`.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let map = self.patches.forward(xs, mode);
        let (_, _, h, w) = map.size4().unwrap_or_default();
        let patches = map.flatten(2, 3).transpose(1, 2);
        // As many as there are images, also in a recorded net that gets another number of them.
        let class = self.class.expand_as(&patches.narrow(1, 0, PREFIX));
        let ys = Tensor::cat(&[class, patches], 1) + self.position(h, w);
        self.tag.note("Position", &ys, 0, mode);
        ys
    }
}

/// A layer of the encoder: attention and a two-layer perceptron, each behind a norm and added to its input.
#[derive(Debug)]
struct Encoder {
    norm1: LayerNorm,
    attention: Attention,
    scales: Option<[Scale; 2]>,
    add1: Add,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    add2: Add,
}

impl Encoder {
    fn new(scope: &Scope<'_>, Shape { width, heads, scales, .. }: Shape) -> Self {
        let linear =
            |name, inputs, outputs, act| Linear::new(scope, name, LinearSpec { inputs, outputs, act });
        Self {
            norm1: LayerNorm::new(scope, "norm1", width, EPS),
            attention: Attention::new(&scope.sub("attn"), width, heads),
            scales: scales.then(|| ["ls1", "ls2"].map(|name| Scale::new(&scope.sub(name), width))),
            add1: Add::new(&scope.sub("attn"), Act::None),
            norm2: LayerNorm::new(scope, "norm2", width, EPS),
            fc1: linear("mlp.fc1", width, 4 * width, Act::Gelu),
            fc2: linear("mlp.fc2", 4 * width, width, Act::None),
            add2: Add::new(&scope.sub("mlp"), Act::None),
        }
    }

    fn scale(&self, i: usize, xs: Tensor, mode: Mode<'_>) -> Tensor {
        self.scales.as_ref().map_or_else(|| xs.shallow_clone(), |scales| scales[i].forward(&xs, mode))
    }
}

impl Block for Encoder {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.attention.forward(&self.norm1.forward(xs, mode), mode);
        let xs = self.add1.forward(self.scale(0, ys, mode), xs, mode);
        let ys = self.fc1.forward(&self.norm2.forward(&xs, mode), mode);
        let ys = self.scale(1, self.fc2.forward(&ys, mode), mode);
        self.add2.forward(ys, &xs, mode)
    }

    fn is_residual(&self) -> bool {
        true
    }
}

fn stages(scope: &Scope<'_>, shape: Shape) -> Vec<Stage> {
    let mut stem = Stage::new("stem", shape.width, shape.patch);
    stem.push(scope, "patch_embed", |scope| Embedding::new(scope, shape));
    let mut stages = vec![stem];
    for i in 0..DEPTH {
        let j = i / BLOCKS_IN_STAGE;
        if i % BLOCKS_IN_STAGE == 0 {
            stages.push(Stage::new(STAGES[j], shape.width, 1));
        }
        let name = format!("blocks.{i}");
        stages[j + 1].push(scope, name.clone(), |scope| Encoder::new(&scope.sub(&name), shape));
    }
    if let Some(last) = stages.last_mut() {
        last.push(scope, "norm", |scope| LayerNorm::new(scope, "norm", shape.width, EPS));
    }
    stages
}

fn from_torchvision(name: &str) -> Rename {
    let Some((layer, rest)) =
        name.strip_prefix("encoder.layers.encoder_layer_").and_then(|rest| rest.split_once('.'))
    else {
        let prefixes = [
            ("class_token", "cls_token"),
            ("conv_proj.", "patch_embed.proj."),
            ("encoder.pos_embedding", "pos_embed"),
            ("encoder.ln.", "norm."),
            ("heads.head.", "head."),
        ];
        return swap_prefix(name, &prefixes);
    };
    let prefixes = [
        ("ln_1.", "norm1."),
        ("ln_2.", "norm2."),
        ("self_attention.in_proj_", "attn.qkv."),
        ("self_attention.out_proj.", "attn.proj."),
        ("mlp.linear_1.", "mlp.fc1."),
        ("mlp.linear_2.", "mlp.fc2."),
        ("mlp.0.", "mlp.fc1."),
        ("mlp.3.", "mlp.fc2."),
    ];
    match swap_prefix(rest, &prefixes) {
        Rename::To(rest) => Rename::To(format!("blocks.{layer}.{rest}")),
        Rename::Ignore => Rename::Ignore,
    }
}
