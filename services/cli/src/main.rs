//! `gantry`: a client of the public APIs, nothing else. It holds no rule of the platform; what it may do, the services decide.

mod args;
mod client;
mod commands;
mod failure;
mod login;
mod output;
mod session;
mod sse;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(arguments));
            // A terminal that is being read would be waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(failure::Failure::Exited(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            eprintln!("{}", failure::render(&error));
            ExitCode::FAILURE
        }
    }
}
