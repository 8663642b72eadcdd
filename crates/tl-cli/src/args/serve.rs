//! The words of `tl serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use tl_train::Precision;

use super::ThreadArgs;

pub(super) const EXAMPLES: &str = "Examples:
  tl serve runs/ants                                          then open http://127.0.0.1:8080
  curl --data-binary @photo.jpg 'http://127.0.0.1:8080/predict?top=3'
  curl -F image=@a.jpg -F image=@b.jpg http://127.0.0.1:8080/predict
  tl serve runs/reviews                                       a model of texts; a page with a box to write in
  curl -d 'A wonderful film.' http://127.0.0.1:8080/predict
  curl --json '{\"texts\": [\"A wonderful film.\", \"Dull.\"], \"top\": 1}' http://127.0.0.1:8080/predict
  tl serve runs/ants --port 0                                 any free port; the log says which

POST /predict answers as `tl predict --json`; GET /model, /healthz and /metrics say what the model is, that it runs, and what
it has done. Ctrl-C and SIGTERM end it after what was asked is answered.

There is no encryption and nobody is asked who they are: put a proxy that does both before it, or keep it to this machine.";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Run directory, a folder with its model.json and model.safetensors, or a package (.zip)
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Address to listen on; 0.0.0.0 for all of this machine's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Most images or texts that the net answers at once [default: 16; of texts 64]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// How long a batch waits for images that are still being decoded, or texts that become tokens, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5)]
    pub(crate) max_wait: u64,
    /// Largest body of a request, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    pub(crate) max_body: u64,
    /// Largest image, in megapixels
    #[arg(long, value_name = "MP", default_value_t = 50)]
    pub(crate) max_pixels: u64,
    /// Longest text, in KiB; of what is shorter the model sees as many tokens as it was trained for, and the answer says
    /// `"cut": true` where that is not all
    #[arg(long, value_name = "KIB", default_value_t = 64)]
    pub(crate) max_text: u64,
    /// Seconds within which a body has to arrive, and then its answer
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) timeout: u64,
    /// Most images or texts that are accepted and not answered yet; above it requests are refused with 503
    /// [default: 256; of texts 2048]
    #[arg(long, value_name = "N")]
    pub(crate) queue: Option<usize>,
    /// Most connections at once; others wait
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) connections: usize,
    /// Divide logits by the temperature that the run fitted on its validation samples (arXiv:1706.04599): probabilities then
    /// mean what they say, and the same is said. For models that choose between classes
    #[arg(long)]
    pub(crate) calibrated: bool,
    /// What the net is computed in: auto (what is fastest here, by trying; bf16 only if the features stay within a tenth),
    /// f32 or bf16 [default: auto]
    #[arg(long, value_name = "auto|f32|bf16")]
    pub(crate) precision: Option<Precision>,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
}
