//! The command `writegate`. What it does lies in `command/` (one file a
//! subcommand) and `host/` (the freezer's hands); here is only the beginning.

mod command;
mod host;

fn main() -> std::process::ExitCode {
    command::main()
}
