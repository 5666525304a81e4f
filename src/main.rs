//! The `rekindle` command.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(rekindle::cli::main())
}
