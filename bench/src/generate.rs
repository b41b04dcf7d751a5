//! Generation token by token, which is bound by the bytes of the weights.

use serde_json::json;
use tabtune::device::Store;
use tabtune::error::Result;
use tabtune::generate::Generator;
use tabtune::kernels::lower::Target;
use tabtune::model::Model;
use web_time::Instant;

use crate::ceilings::Ceilings;
use crate::open_for;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits, percent, rounded};
use crate::profile::Profile;
use crate::synthetic::{SyntheticFiles, random_ids};
use crate::timing::Times;
use crate::training::tiles;

/// Tokens of the prompt, and of the answer: a few to warm up and those that count.
const PROMPT: usize = 64;
const WARM_UP: usize = 4;
const TIMED: usize = 24;

/// Measures single tokens after a prompt, without an adapter, and reports them against `ceilings`.
pub async fn run(options: &Options, ceilings: Option<&Ceilings>, output: &Output<'_>) -> Result<()> {
    let (shape, base) = (options.shape, options.base.unwrap_or(Base::Nf4));
    output.note(&format!("generation of {} with {} base", shape.name, base.name()));
    let device = open_for(options).await?;
    let mut store = Store::new(&device);
    let files = SyntheticFiles::new(shape, base)?;
    let load = base.load();
    let model = Model::load(&files, shape.architecture()?, load, &mut store, &mut |_| {}).await?;
    let target = Target::of(&device, &tiles(&device, &model).await?);
    let capacity = (PROMPT + WARM_UP + TIMED).next_multiple_of(64);
    let mut generator = Generator::new(&device, &mut store, &model, None, &target, capacity)?;

    let ids = random_ids(1, PROMPT + WARM_UP + TIMED, shape.vocab);
    let began = Instant::now();
    generator.run(&store, &ids[..PROMPT], 0, false).await?;
    let prompt_seconds = began.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    for position in PROMPT..ids.len() {
        let began = Instant::now();
        generator.run(&store, &ids[position..=position], position, false).await?;
        if position >= PROMPT + WARM_UP {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    let times = Times::of(seconds);

    let head: u64 = model.head.iter().map(|slab| slab.weight.values.size()).sum();
    let bytes = model.linear().map(|product| product.weight.bytes()).sum::<u64>() + head;
    let least = ceilings.map(|most| bytes as f64 / most.bytes);
    output.result(
        "generate",
        json!({
            "shape": shape.name,
            "base": base.name(),
            "context": PROMPT,
            "ms_per_token": rounded(times.median * 1e3),
            "ms_best": rounded(times.best * 1e3),
            "tokens_per_second": rounded(1.0 / times.median),
            "ms_prompt": rounded(prompt_seconds * 1e3),
            "weight_bytes": bytes,
            "ms_at_copy_bandwidth": least.map(|least| rounded(least * 1e3)),
            "share_of_bandwidth": least.map(|least| rounded(least / times.median)),
        }),
    );
    let unknown = || "not measured".to_owned();
    let mut table = Table::new(
        format!("generation of {}, {} base, one token at context {PROMPT}", shape.name, base.name()),
        &["", "measured"],
    );
    for (name, value) in [
        ("ms per token, median", digits(times.median * 1e3)),
        ("tokens/s", digits(1.0 / times.median)),
        ("MB of weights that a token reads", digits(bytes as f64 / 1e6)),
        ("ms for these at the copy bandwidth", least.map_or(unknown(), |least| digits(least * 1e3))),
        ("share of the bandwidth", least.map_or(unknown(), |least| percent(least / times.median))),
    ] {
        table.row(vec![name.to_owned(), value]);
    }
    output.table(table);
    Profile::of(generator.profile().await).report("token", shape, output);
    device.check()
}
