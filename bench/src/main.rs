//! The native face of the benchmarks: `./build.sh bench`.

use std::process::ExitCode;

use tabtune_bench::output::Stream;
use tabtune_bench::run;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let write = |stream, text: &str| match stream {
        Stream::Results => println!("{text}"),
        Stream::Notes => eprintln!("{text}"),
    };
    match pollster::block_on(run(&arguments, &write)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code.as_str());
            ExitCode::FAILURE
        }
    }
}
