//! The native face of the benchmarks: `./build.sh bench`, and what a GPU kit needs of it.

use std::path::Path;
use std::process::ExitCode;

use tabtune::error::Result;
use tabtune_bench::heap::Counting;
use tabtune_bench::output::Stream;
use tabtune_bench::{report, run, shapes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match go(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code.as_str());
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &[String]) -> Result<()> {
    match arguments {
        // Neither of these needs an adapter.
        [table, folder] if table == "table" => report::write(Path::new(folder)),
        [name] if name == "shapes" => {
            println!("{}", shapes::all_json());
            Ok(())
        }
        _ => {
            let write = |stream, text: &str| match stream {
                Stream::Results => println!("{text}"),
                Stream::Notes => eprintln!("{text}"),
            };
            pollster::block_on(run(arguments, &write))
        }
    }
}
