//! The `docent` command.

fn main() -> std::process::ExitCode {
    docent::cli::run(std::env::args_os())
}
