//! From arguments to results.

use tabtune::error::Result;

use crate::ceilings::Ceilings;
use crate::options::{Options, What};
use crate::output::{Output, Stream};
use crate::{generate, kernels, open, peer, ratios, step};

/// Measures what `arguments` ask for and hands every text to `write`.
///
/// # Errors
///
/// `bad-option` for wrong arguments; whatever goes wrong on the adapter.
pub async fn run(arguments: &[String], write: &dyn Fn(Stream, &str)) -> Result<()> {
    let options = Options::parse(arguments)?;
    let tables_to = if options.what == What::Peer { Stream::Notes } else { Stream::Results };
    let output = Output::new(write, tables_to, open().await?.summary());
    if options.what == What::Peer {
        peer::run(&options, &output).await?;
    } else {
        let asked = |what| options.what == what || options.what == What::All;
        let ceilings = Ceilings::measure(&output).await?;
        if asked(What::Kernels) {
            kernels::run(&options, &ceilings, &output).await?;
        }
        if asked(What::Kernels) || asked(What::Ratios) {
            ratios::run(&options, &output).await?;
        }
        if asked(What::Step) {
            step::run(&options, &ceilings, &output).await?;
        }
        if asked(What::Generate) {
            generate::run(&options, &ceilings, &output).await?;
        }
    }
    output.finish();
    Ok(())
}
