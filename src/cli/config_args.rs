//! Arguments of the configuration file: which one, and what to do with it in place of serving.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// A TOML file with a key for each flag, as max-line = 20000; flags and variables come before it. SIGHUP reads it
    /// again [default: none]
    #[arg(long, value_name = "FILE", env = "ROOMCAST_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Check the configuration file with the other flags and variables, list its mistakes, and exit
    #[arg(long)]
    pub(super) check_config: bool,

    /// Print every setting with its origin, as a configuration file, and exit
    #[arg(long)]
    pub(super) show_config: bool,
}
