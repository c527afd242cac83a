//! `writegate man`: the manual pages, made from the same definitions as `--help` ([`command_page`]); that of
//! the profile format ([`profile_page`]) from the table of its keys. [`roff`] is what both are written in.

mod command_page;
mod profile_page;
mod roff;

use super::output::print_lines;
use crate::outcome::fault::{Fault, Result, USAGE};
use clap::Command;
use std::path::{Path, PathBuf};

/// Print the manual page, or write the pages of all subcommands to a directory
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate man | man -l -
  writegate man freeze | man -l -
  writegate man writegate.conf | man -l -
  writegate man --dir /usr/local/share/man/man1")]
pub struct Args {
    /// Page to print: a subcommand, or writegate.conf (default: that of writegate itself)
    #[arg(value_name = "SUBCOMMAND|DIR")]
    page: Option<String>,
    /// Write all pages here (an existing directory may also be given alone)
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    dir: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args, definition: Command) -> Result<u8> {
    let root = full(definition);
    if let Some(dir) = &args.dir {
        return write_all(&root, dir);
    }
    let Some(name) = &args.page else {
        print_lines(command_page::roff(&root, &names(&root))?.trim_end());
        return Ok(0);
    };
    if let Some(sub) = root.get_subcommands().find(|sub| sub.get_name() == name) {
        print_lines(command_page::roff(&page(sub), &names(&root))?.trim_end());
        return Ok(0);
    }
    if name == profile_page::NAME {
        print_lines(profile_page::roff().trim_end());
        return Ok(0);
    }
    if Path::new(name).is_dir() {
        return write_all(&root, Path::new(name));
    }
    let known = pages(&root).join(", ");
    Err(Fault::new(USAGE, format!("there is no page `{name}`; there are {known}")))
}

/// The names of all pages but that of writegate itself.
pub fn pages(root: &Command) -> Vec<String> {
    let subcommands = root.get_subcommands().map(Command::get_name);
    let own = subcommands.filter(|name| *name != "help");
    own.chain([profile_page::NAME]).map(str::to_owned).collect()
}

/// With everything that clap adds when it parses.
fn full(mut root: Command) -> Command {
    root.build();
    // Its page would be one that there is not.
    root.mut_subcommand("help", |help| help.hide(true))
}

/// The names of the pages, as they refer to each other.
fn names(root: &Command) -> Vec<String> {
    let own = pages(root).into_iter().map(|page| match page == profile_page::NAME {
        true => page,
        false => format!("writegate-{page}"),
    });
    [root.get_name().to_owned()].into_iter().chain(own).collect()
}

/// A subcommand under the name of its page.
fn page(sub: &Command) -> Command {
    // clap wants names that live as long as the program; there are a dozen.
    let name: &'static str = format!("writegate-{}", sub.get_name()).leak();
    sub.clone()
        .name(name)
        .bin_name(name.replacen('-', " ", 1))
        .version(env!("CARGO_PKG_VERSION"))
        // The subcommand's help would be a page that there is not.
        .disable_help_subcommand(true)
}

fn write_all(root: &Command, dir: &Path) -> Result<u8> {
    std::fs::create_dir_all(dir)
        .map_err(|e| Fault::io(format!("cannot make {}", dir.display()), &e))?;
    let mut pages = vec![root.clone()];
    pages.extend(root.get_subcommands().filter(|s| s.get_name() != "help").map(page));
    let mut texts = vec![(format!("{}.5", profile_page::NAME), profile_page::roff())];
    for command in &pages {
        texts.push((
            format!("{}.1", command.get_name()),
            command_page::roff(command, &names(root))?,
        ));
    }
    for (name, text) in texts {
        let path = dir.join(name);
        std::fs::write(&path, text)
            .map_err(|e| Fault::io(format!("cannot write {}", path.display()), &e))?;
    }
    Ok(0)
}
