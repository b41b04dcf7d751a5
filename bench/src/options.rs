//! The command line, the same natively and in a browser.

use tabtune::bail;
use tabtune::device::DeviceOption;
use tabtune::error::{Code, Error, Result};
use tabtune::model::LoadOptions;
use tabtune::train::options::GradientCheckpointing;

use crate::shapes::{SHAPES, Shape};
use crate::ways::Way;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// What the adapter is and offers.
    Adapter,
    /// What the adapter can do at most.
    Ceilings,
    /// Whether the products of every tile that the adapter runs agree with the plain twin.
    Tiles,
    /// Which tile wins for each product of a model.
    Race,
    /// Every kernel against the adapter's limits.
    Kernels,
    /// The loss at vocabularies of three sizes.
    Loss,
    /// How kernels compare.
    Ratios,
    /// A whole training step.
    Step,
    /// What each way to train takes.
    Ways,
    /// Generation, token by token.
    Generate,
    /// Kernels, ratios, step and generation.
    All,
    /// The training step that peers run.
    Peer,
    /// Products of the sizes that other libraries are compared at.
    Products,
}

impl What {
    /// Whether it is measured on the processor too.
    fn has_processor(self) -> bool {
        matches!(self, What::Step | What::Ways | What::Generate | What::Peer | What::Products)
    }
}

/// How the frozen base lies on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    F32,
    Nf4,
}

impl Base {
    pub fn name(self) -> &'static str {
        match self {
            Base::F32 => "f32",
            Base::Nf4 => "nf4",
        }
    }

    /// How a model is loaded so.
    pub fn load(self) -> LoadOptions {
        LoadOptions { load_in_4bit: self == Base::Nf4, ..LoadOptions::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub what: What,
    pub shape: &'static Shape,
    /// M of the kernels, or the tokens of a step's row.
    pub tokens: Option<usize>,
    /// Where `None`, NF4; for the peers' step both, of which f32 is the result.
    pub base: Option<Base>,
    /// Whether a step computes activations again; by default where memory asks for it.
    pub checkpointing: GradientCheckpointing,
    /// What computes; most is measured on the GPU alone.
    pub device: DeviceOption,
    /// Where `None`, each way to train that suits the shape.
    pub way: Option<Way>,
    /// The workers of the processor; by default as many as the engine takes.
    pub workers: Option<usize>,
}

impl Options {
    /// Whether `what` is measured.
    pub fn asks_for(&self, what: What) -> bool {
        self.what == what || self.what == What::All
    }

    /// Reads the arguments behind the program's name. What is wrong is an error of code `bad-option`.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let (mut what, mut shape, mut tokens, mut base) = (None, None, None, None);
        let (mut checkpointing, mut device) = (GradientCheckpointing::Auto, DeviceOption::default());
        let (mut workers, mut way) = (None, None);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(option) = argument.strip_prefix("--") else {
                match what {
                    None => what = Some(parse_what(argument)?),
                    Some(What::Peer) if shape.is_none() => shape = Some(parse_shape(argument)?),
                    Some(_) => bail!(BadOption, "{argument:?} is one argument too many"),
                }
                continue;
            };
            let (option, value) = match option.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (option, arguments.next().cloned()),
            };
            let Some(value) = value else { bail!(BadOption, "--{option} wants a value") };
            match option {
                "shape" => shape = Some(parse_shape(&value)?),
                "tokens" => tokens = Some(parse_tokens(&value)?),
                "base" => base = Some(parse_base(&value)?),
                "checkpointing" => checkpointing = parse_checkpointing(&value)?,
                "device" => device = value.parse()?,
                "way" => way = Some(parse_way(&value)?),
                "workers" => workers = Some(parse_workers(&value)?),
                _ => bail!(
                    BadOption,
                    "--{option} is not an option: known are engine, device, workers, shape, tokens, base, way and checkpointing"
                ),
            }
        }
        let what = what.unwrap_or(What::All);
        if way.is_some() && what != What::Ways {
            bail!(BadOption, "--way goes with ways");
        }
        let shape = match (what, shape) {
            (What::Peer, Some(shape)) if !shape.is_of_peers() => {
                bail!(BadOption, "peer takes the shape tiny or small, not {}", shape.name)
            }
            (What::Peer, None) => bail!(BadOption, "peer wants a shape: tiny or small"),
            (_, Some(shape)) => shape,
            (_, None) => parse_shape("smollm2-135m")?,
        };
        if what == What::Peer && tokens.is_some() {
            bail!(BadOption, "--tokens does not go with peer, whose work is fixed");
        }
        if device == DeviceOption::Auto {
            bail!(BadOption, "--device is \"auto\", but a measurement wants to be told: webgpu or cpu");
        }
        if device == DeviceOption::Cpu && !what.has_processor() {
            bail!(
                BadOption,
                "--device cpu goes with step, ways, generate, peer and products: the rest is about GPUs"
            );
        }
        if workers.is_some() && device != DeviceOption::Cpu {
            bail!(BadOption, "--workers goes with --device cpu: a GPU has its own");
        }
        Ok(Options { what, shape, tokens, base, checkpointing, device, way, workers })
    }
}

fn parse_what(text: &str) -> Result<What> {
    Ok(match text {
        "adapter" => What::Adapter,
        "ceilings" => What::Ceilings,
        "tiles" => What::Tiles,
        "race" => What::Race,
        "kernels" => What::Kernels,
        "loss" => What::Loss,
        "ratios" => What::Ratios,
        "step" => What::Step,
        "ways" => What::Ways,
        "generate" => What::Generate,
        "all" => What::All,
        "peer" => What::Peer,
        "products" => What::Products,
        _ => bail!(
            BadOption,
            "{text:?} is not adapter, ceilings, tiles, race, kernels, loss, ratios, step, ways, generate, all, peer or products"
        ),
    })
}

fn parse_shape(text: &str) -> Result<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == text).ok_or_else(|| {
        let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        Error::new(Code::BadOption, format!("--shape is {text:?}, but must be one of {}", known.join(", ")))
    })
}

fn parse_tokens(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(tokens @ 8..=65_536) => Ok(tokens),
        _ => bail!(BadOption, "--tokens is {text:?}, but must be a whole number from 8 to 65536"),
    }
}

fn parse_workers(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(workers @ 1..=64) => Ok(workers),
        _ => bail!(BadOption, "--workers is {text:?}, but must be a whole number from 1 to 64"),
    }
}

fn parse_way(text: &str) -> Result<Way> {
    Way::ALL.into_iter().find(|way| way.name() == text).ok_or_else(|| {
        Error::new(Code::BadOption, format!("--way is {text:?}, but must be qlora, int8, mezo, dpo or full"))
    })
}

fn parse_base(text: &str) -> Result<Base> {
    match text {
        "f32" => Ok(Base::F32),
        "nf4" => Ok(Base::Nf4),
        _ => bail!(BadOption, "--base is {text:?}, but must be f32 or nf4"),
    }
}

fn parse_checkpointing(text: &str) -> Result<GradientCheckpointing> {
    match text {
        "auto" => Ok(GradientCheckpointing::Auto),
        "true" => Ok(GradientCheckpointing::On),
        "false" => Ok(GradientCheckpointing::Off),
        _ => bail!(BadOption, "--checkpointing is {text:?}, but must be true, false or auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_wherever_they_stand() {
        let silent = parse("").unwrap();
        assert_eq!((silent.what, silent.shape.name, silent.tokens), (What::All, "smollm2-135m", None));
        let step = parse("step --tokens=64 --shape llama-1b --base f32").unwrap();
        assert_eq!((step.what, step.shape.name), (What::Step, "llama-1b"));
        assert_eq!((step.tokens, step.base), (Some(64), Some(Base::F32)));
        let kept = parse("step --checkpointing false").unwrap();
        assert_eq!(kept.checkpointing, GradientCheckpointing::Off);
        let alone = parse("products --device cpu --workers 1").unwrap();
        assert_eq!((alone.what, alone.device, alone.workers), (What::Products, DeviceOption::Cpu, Some(1)));
        let way = parse("ways --way mezo --shape llama-2-7b").unwrap();
        assert_eq!((way.what, way.way, way.shape.name), (What::Ways, Some(Way::Mezo), "llama-2-7b"));
        let peer = parse("peer --base nf4 tiny").unwrap();
        assert_eq!((peer.what, peer.shape.name, peer.base), (What::Peer, "tiny", Some(Base::Nf4)));
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (line, expected) in [
            ("kernel", "\"kernel\" is not adapter"),
            ("step more", "\"more\" is one argument too many"),
            ("--shape huge", "--shape is \"huge\""),
            ("--tokens 7", "--tokens is \"7\""),
            ("--tokens", "--tokens wants a value"),
            ("--base f16", "--base is \"f16\""),
            ("step --checkpointing on", "--checkpointing is \"on\""),
            ("--speed 3", "--speed is not an option"),
            ("peer", "peer wants a shape"),
            ("peer llama-1b", "peer takes the shape tiny or small, not llama-1b"),
            ("peer tiny --tokens 64", "--tokens does not go with peer"),
            ("kernels --device cpu", "--device cpu goes with step"),
            ("step --device auto", "--device is \"auto\""),
            ("step --device gpu", "device must be auto"),
            ("ways --way dora", "--way is \"dora\""),
            ("step --way full", "--way goes with ways"),
            ("step --workers 2", "--workers goes with --device cpu"),
            ("step --device cpu --workers 0", "--workers is \"0\""),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.code, Code::BadOption, "{line}");
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
